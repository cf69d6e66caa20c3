"""The continuous pull of one lane: asks the lane's durable consumer for doorbells and keeps asking.

nats-py's own fetch costs three times as much a message and goes blind when a server restarts (nats-io/nats.py#504).
"""

import collections
import time
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import structlog
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.telemetry import catalogue

log = structlog.get_logger()

EXPIRES: Final = 20.0  # seconds that the server keeps a request
HEARTBEAT: Final = 2.0  # seconds between its signs of life
DEAF: Final = 2.5 * HEARTBEAT  # after so long without one the request is taken for lost
PAUSE: Final = 0.25  # seconds to wait after a refusal

UNREADABLE: Final = catalogue.DOORBELLS_UNREADABLE.create()


class Held(NamedTuple):
    """A doorbell that this worker holds: its task, where to ack it, and since when (monotonic seconds)."""

    id: UUID
    reply: str
    since: float


class Pull:
    """One lane's doorbells. `rang` is called whenever the buffer grew."""

    def __init__(self, bus: Bus, queue: str, priority: int, rang: Callable[[], None]) -> None:
        self.queue, self.priority = queue, priority
        self.buffer: collections.deque[Held] = collections.deque()
        self._bus, self._rang = bus, rang
        self._subject = subjects.next_message(queue, priority)
        self._inbox = bus.inbox()
        self._asked = 0
        self._heard = 0.0
        self._not_before = 0.0
        self._generation = -1
        self._closed = False

    async def open(self) -> None:
        await self._bus.subscribe(self._inbox, self._take)

    async def close(self) -> None:
        """Take no more: the server notices that nobody listens, forgets what was asked, and keeps what it had for this lane.

        What it had sent before it noticed is in the buffer; the caller gives it back.
        """
        self._closed = True
        await self._bus.unsubscribe(self._inbox)

    async def open_again(self) -> None:
        """Take again after a close, at a new address: what was asked for at the old one no longer counts."""
        self._inbox, self._asked, self._not_before, self._closed = self._bus.inbox(), 0, 0.0, False
        await self.open()

    async def top_up(self, want: int) -> None:
        """Ask for doorbells so that up to `want` are held or on their way. Cheap when there is nothing to ask."""
        if self._closed:
            return
        now = time.monotonic()
        if self._generation != self._bus.generation or (self._asked and now - self._heard > DEAF):
            self._generation, self._asked = self._bus.generation, 0
        missing = want - len(self.buffer) - self._asked
        if missing <= 0 or missing * 2 < want or now < self._not_before:
            return
        body = {"batch": missing, "expires": int(EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)}
        if await self._bus.publish(self._subject, msgspec.json.encode(body), self._inbox):
            self._asked += missing
            self._heard = now

    def take(self, most: int) -> list[Held]:
        """Up to `most` doorbells, the oldest first; the caller acks or gives back each one."""
        return [self.buffer.popleft() for _ in range(min(most, len(self.buffer)))]

    async def _take(self, message: Msg) -> None:
        self._heard = time.monotonic()
        if message.headers and "Status" in message.headers and not message.data:
            self._status(message.headers)
            return
        self._asked = max(0, self._asked - 1)
        try:
            task_id = subjects.read_doorbell(message.data)
        except ValueError as error:
            UNREADABLE.inc()
            log.warning("a message in the work stream is no doorbell, removed", subject=message.subject, error=str(error))
            await self._bus.publish(message.reply, b"+TERM")
            return
        self.buffer.append(Held(task_id, message.reply, self._heard))
        self._rang()

    def _status(self, headers: dict[str, str]) -> None:
        if headers["Status"] == "100":
            return
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdigit() else 0
        if headers["Status"] != "408":  # 408 is the normal end of a request; the others mean that the consumer is not there or moves
            self._not_before = time.monotonic() + PAUSE


async def ack(bus: Bus, bells: list[Held]) -> None:
    """Remove doorbells from the stream; a lost ack is harmless, the doorbell comes again and is not claimable."""
    if bells:
        await bus.publish_all([(bell.reply, b"") for bell in bells])


async def give_back(bus: Bus, bells: list[Held]) -> None:
    """Let somebody else have doorbells, at once."""
    if bells:
        await bus.publish_all([(bell.reply, b"-NAK") for bell in bells])
