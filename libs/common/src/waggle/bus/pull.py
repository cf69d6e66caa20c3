"""The continuous pull of one lane: keeps requesting doorbells from its durable consumer.

`fetch` of nats-py costs three times as much per message and gets no messages after a server restart (nats-io/nats.py#504,
findings/nats-py-fetch-is-deaf-after-a-server-restart.sh).
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

EXPIRY_SECONDS: Final = 20.0  # for which the server keeps a request
HEARTBEAT_SECONDS: Final = 2.0  # between heartbeats of the server
DEAF_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS  # without a heartbeat, after which a request counts as lost
PULL_RETRY_SECONDS: Final = 0.25  # after a refusal

UNREADABLE: Final = catalogue.DOORBELLS_UNREADABLE.create()


class Held(NamedTuple):
    """A doorbell held by this worker: its task, its ack subject, and since when (monotonic seconds)."""

    id: UUID
    reply: str
    since: float


class Pull:
    """The doorbells of one lane. Calls `rang` whenever its buffer has grown."""

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
        """Unsubscribe: the server then drops the open requests and keeps the doorbells.

        Doorbells that it sent before are in the buffer; the caller gives them back.
        """
        self._closed = True
        await self._bus.unsubscribe(self._inbox)

    async def open_again(self) -> None:
        """Subscribe again after a close, at a new inbox: open requests of the old one no longer count."""
        self._inbox, self._asked, self._not_before, self._closed = self._bus.inbox(), 0, 0.0, False
        await self.open()

    async def top_up(self, want: int) -> None:
        """Request doorbells so that up to `want` are held or requested. Cheap when there is nothing to request."""
        if self._closed:
            return
        now = time.monotonic()
        if self._generation != self._bus.generation or (self._asked and now - self._heard > DEAF_SECONDS):
            self._generation, self._asked = self._bus.generation, 0
        missing = want - len(self.buffer) - self._asked
        if missing <= 0 or missing * 2 < want or now < self._not_before:
            return
        body = {"batch": missing, "expires": int(EXPIRY_SECONDS * 1e9), "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9)}
        if await self._bus.publish(self._subject, msgspec.json.encode(body), self._inbox):
            self._asked += missing
            self._heard = now

    def take(self, most: int) -> list[Held]:
        """Remove up to `most` doorbells from the buffer, oldest first; the caller acks or gives back each one."""
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
            log.warning("malformed doorbell deleted", subject=message.subject, error=str(error))
            await self._bus.publish(message.reply, b"+TERM")
            return
        self.buffer.append(Held(task_id, message.reply, self._heard))
        self._rang()

    def _status(self, headers: dict[str, str]) -> None:
        if headers["Status"] == "100":
            return
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdigit() else 0
        if headers["Status"] != "408":  # 408 is the normal end of a request; other statuses mean that the consumer is missing or moves
            self._not_before = time.monotonic() + PULL_RETRY_SECONDS


async def ack(bus: Bus, bells: list[Held]) -> None:
    """Ack doorbells, which deletes them from the stream. A lost ack is harmless: the doorbell comes again, and its task is not claimable."""
    if bells:
        await bus.publish_all([(bell.reply, b"") for bell in bells])


async def give_back(bus: Bus, bells: list[Held]) -> None:
    """Give doorbells to other workers, at once."""
    if bells:
        await bus.publish_all([(bell.reply, b"-NAK") for bell in bells])
