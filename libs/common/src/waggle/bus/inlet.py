"""Takes in what publishers hand over: a continuous pull of the consumer that all APIs share, up to HELD messages at a time.

A message is acked when it was taken care of. One that is given back comes again at once, to this API or to another.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus

log = structlog.get_logger()

HELD: Final = 2_000
HELD_BYTES: Final = 32 << 20  # that one request for messages may bring
GROUP: Final = 500  # messages that are taken care of together
GROUPS: Final = 4  # at a time
EXPIRY_SECONDS: Final = 20.0  # for which the server keeps a request
HEARTBEAT_SECONDS: Final = 2.0  # between heartbeats of the server
DEAF_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS  # without a heartbeat, after which a request counts as lost
RETRY_SECONDS: Final = 0.25  # after a refusal, such as that the stream is missing
STATUS_LINE: Final = "Status"

Take = Callable[[Sequence[Msg]], Awaitable[Sequence[Msg]]]
"""Takes care of messages, and returns those that are to come again later: Postgres does not answer."""


class Inlet:
    """The pull. `run` is its loop; when it is cancelled, messages that nobody has begun with go back."""

    def __init__(self, bus: Bus, take: Take) -> None:
        self._bus, self._take = bus, take
        self._waiting: list[Msg] = []
        self._asked = self._working = 0
        self._heard = self._not_before = 0.0
        self._generation = -1
        self._some = asyncio.Event()
        self._inbox = bus.inbox()

    async def run(self, stopping: asyncio.Event) -> None:
        """Take messages until `stopping`; then finish those that were begun."""
        await self._bus.subscribe(self._inbox, self._arrived)
        slots = asyncio.Semaphore(GROUPS)
        async with asyncio.TaskGroup() as groups:
            while not stopping.is_set():
                await self._top_up()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self._some.wait()
                while self._waiting and not stopping.is_set():
                    await slots.acquire()
                    group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                    self._working += len(group)
                    groups.create_task(self._one(group, slots), name="ingest")
                    await self._top_up()
                self._some.clear()
            await self._bus.unsubscribe(self._inbox)  # the server drops the open requests
            await self._give_back(self._waiting)
            self._waiting = []

    async def _one(self, group: list[Msg], slots: asyncio.Semaphore) -> None:
        later: Sequence[Msg] = group
        try:
            later = await self._take(group)
        finally:
            self._working -= len(group)
            slots.release()
            back = {message.reply for message in later}
            await self._bus.publish_all([(message.reply, b"") for message in group if message.reply not in back])
            await self._give_back(later)
            self._some.set()

    async def _give_back(self, messages: Sequence[Msg]) -> None:
        if messages:
            await self._bus.publish_all([(message.reply, b"-NAK") for message in messages])

    def pause(self, seconds: float) -> None:
        """Ask for no more messages for a time."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    async def _top_up(self) -> None:
        now = time.monotonic()
        if self._generation != self._bus.generation or (self._asked and now - self._heard > DEAF_SECONDS):
            self._generation, self._asked = self._bus.generation, 0
        missing = HELD - len(self._waiting) - self._working - self._asked
        if missing < HELD // 2 or now < self._not_before:
            return
        body = {"batch": missing, "max_bytes": HELD_BYTES, "expires": int(EXPIRY_SECONDS * 1e9), "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9)}
        if await self._bus.publish(subjects.NEXT_SUBMITTED, msgspec.json.encode(body), self._inbox):
            self._asked += missing
            self._heard = now

    async def _arrived(self, message: Msg) -> None:
        self._heard = time.monotonic()
        headers = message.headers
        if headers and STATUS_LINE in headers and not message.data and not message.reply.startswith(subjects.ACK_PREFIX):
            self._status(headers)
            return
        self._asked = max(0, self._asked - 1)
        self._waiting.append(message)
        self._some.set()

    def _status(self, headers: dict[str, str]) -> None:
        if headers[STATUS_LINE] == "100":
            return
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdigit() else 0
        if headers[STATUS_LINE] not in ("408", "409"):  # 408 is the normal end of a request, 409 also that it has brought HELD_BYTES
            self.pause(RETRY_SECONDS)
