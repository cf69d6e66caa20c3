"""Whether JetStream stores what it is given. A connection says nothing about that: after a full disk, or without a quorum, publishes are taken and lost.

Only an ack tells. Doorbells ask for one a few times a second; when it does not come, a probe decides. Until a probe is stored again, tasks are written
without a doorbell, and the scheduler rings them afterwards.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.jetstream import api_request
from waggle.telemetry import catalogue

log = structlog.get_logger()

ACK_SECONDS: Final = 2.0  # an ack that takes longer is looked into
PROBE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
STREAM_FULL: Final = "stream full"

NOT_STORING: Final = catalogue.NATS_NOT_STORING.create()


class Storing:
    """What the acks of one connection tell. `ok` until a probe fails."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._clock = bus, clock
        self._asked: dict[str, float] = {}
        self._generation = bus.generation
        self._in_doubt = asyncio.Event()  # something is to be looked at
        self.ok = True

    def asked(self, lane: str) -> None:
        """An ack was requested for a doorbell of this lane."""
        self._asked.setdefault(lane, self._clock())
        self._in_doubt.set()

    def answered(self, lane: str, refused: str | None) -> None:
        """An answer came; one that there is no stream (or none that has a leader) counts as none: the stream may just be created again."""
        if refused in (None, STREAM_FULL):
            self._asked.pop(lane, None)

    async def watch(self) -> None:
        while True:
            if self.ok and not self._asked:
                self._in_doubt.clear()
            await self._in_doubt.wait()
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Probe if an ack is missing, or was when this looked before."""
        if not self._bus.connected or self._bus.generation != self._generation:  # what was asked on another connection is never answered
            self._asked.clear()
            self._generation = self._bus.generation
        late = any(self._clock() - at > ACK_SECONDS for at in self._asked.values())
        if not self._bus.connected or (self.ok and not late):
            return
        await self.check()

    async def check(self) -> str | None:
        """Probe now; returns why nothing is stored, or None."""
        reason = await probe(self._bus)
        if reason is None:
            self._asked.clear()
            if not self.ok:
                self.ok = True
                NOT_STORING.set(0)
                log.warning("JetStream stores doorbells again")
                await _remove_probes(self._bus)
        elif self.ok and self._bus.connected:
            self.ok = False
            self._in_doubt.set()
            NOT_STORING.set(1)
            log.error("NATS is connected but stores nothing; tasks are accepted and wait", error=reason, advice="see docs/operating.md")
        return reason


async def probe(bus: Bus) -> str | None:
    """Store a message that no lane has, and remove it; returns why that failed, or None. Takes up to PROBE_SECONDS."""
    try:
        ack = await bus.request(subjects.PROBE, seconds=PROBE_SECONDS)
    except TimeoutError:
        return "no ack within 2 s"
    except NATS_OUTAGE as error:
        return str(error) or type(error).__name__
    reason = refusal(ack)
    if reason is None:
        with contextlib.suppress(*NATS_OUTAGE):
            await api_request(bus, subjects.DELETE_MESSAGE, {"seq": msgspec.json.decode(ack.data)["seq"], "no_erase": True})
    return None if reason == STREAM_FULL else reason


async def _remove_probes(bus: Bus) -> None:
    """Those whose ack came too late. One that stays all the same is removed by `waggle audit --repair`."""
    with contextlib.suppress(*NATS_OUTAGE):
        await api_request(bus, subjects.PURGE, {"filter": subjects.PROBE})


def refusal(message: Msg) -> str | None:
    """Why the stream refused a message, by its ack; None when it stored it."""
    if message.headers and message.headers.get("Status") == "503":
        return "no stream"
    try:
        answer = msgspec.json.decode(message.data)
    except msgspec.DecodeError:
        return "unreadable ack"
    error = answer.get("error") if isinstance(answer, dict) else None
    if error is None:
        return None
    return {10077: STREAM_FULL}.get(error.get("err_code"), "refused")
