"""Sharing the breakers of this worker with the fleet, through the KV bucket. Without NATS each worker decides for itself."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from nats.js.errors import APIError

from waggle.bus import subjects
from waggle.bus.breakers import Changed, State
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.loops import wait_for
from waggle_worker.protect.breaker import Breaker, Rules
from waggle_worker.protect.clock import ServerClock
from waggle_worker.protect.ledger import Ledger
from waggle_worker.protect.reading import Reader
from waggle_worker.protect.registry import Registry
from waggle_worker.protect.writing import Writer

log = structlog.get_logger()

SYNC_SECONDS: Final = 2.0  # between two reads of the bucket at most; a hint of another worker's write comes sooner
SYNC_TIMEOUT_SECONDS: Final = 1.0  # that a handler waits for the bucket
EXPECTED: Final[tuple[type[Exception], ...]] = (*NATS_OUTAGE, Changed)


class Sharing:
    """`loop()` shares until `close()`; `open()` before it. `in_touch` says whether the bucket answered last."""

    def __init__(self, bus: Bus, rules: Rules, registry: Registry, ledger: Ledger, worker_id: str, now: Callable[[], float]) -> None:
        self._bus, self._rules, self._registry, self._ledger = bus, rules, registry, ledger
        clock = ServerClock(now)
        self.reader = Reader(bus, rules, registry, ledger, clock, worker_id, now)
        self.writer = Writer(bus, rules, registry, ledger, clock, self.reader, now)
        self.in_touch = False
        self._closed, self._closing = asyncio.Event(), False

    async def open(self) -> None:
        await self._bus.subscribe(subjects.BREAKERS_ALL, self._hinted)

    async def loop(self) -> None:
        """Until `close()`, or a cancellation: one that arrives together with an answer of NATS is lost on the way (wait_for of Python 3.11)."""
        is_last, task = False, asyncio.current_task()
        while not is_last and not (task and task.cancelling()):
            is_last = self._closing
            self._ledger.wake.clear()
            await self.share()
            if not is_last:
                await wait_for(self._ledger.wake, min(SYNC_SECONDS, self._rules.lease / 5))  # a probe is renewed here
        self._closed.set()

    async def close(self) -> None:
        """Write what is unwritten, and share no longer."""
        self._closing = True
        self._ledger.wake.set()
        await wait_for(self._closed, 2 * SYNC_TIMEOUT_SECONDS)

    async def share(self) -> None:
        """Read what others wrote, write what they should know. After an outage the next round does it."""
        try:
            async with asyncio.timeout(2 * SYNC_TIMEOUT_SECONDS):
                await self.reader.read()
                self.in_touch = True
                await self.writer.write()
                await self.writer.renew()
        except EXPECTED as error:
            if self.in_touch:
                log.info("breaker sharing unavailable; using local state", error=str(error) or type(error).__name__)
            self.in_touch = False

    async def wins_probe(self, breaker: Breaker, token: str) -> bool:
        """Whether this worker may probe: by compare-and-set in the bucket, or by its own state when NATS is unavailable."""
        self.in_touch &= self._bus.connected
        if not self.in_touch:
            return True
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_SECONDS):
                revision = await self.writer.claim_probe(breaker, token)
        except Changed:
            self._ledger.doubt(breaker.name)
            return False
        except NATS_OUTAGE as error:
            self.in_touch &= isinstance(error, APIError)
            return breaker.state is not State.CLOSED and breaker.requested == token
        except BaseException:  # cancelled: the answer may have been yes
            if breaker.requested == token:
                self._registry.share(breaker)
            raise
        if self._ledger.revision(breaker.name) > revision:  # another worker took it while the answer was on its way
            return False
        self._ledger.revisions[breaker.name] = revision
        return True

    async def _hinted(self, _: object) -> None:
        self._ledger.wake.set()
