"""The continuous pull of one lane: keeps requesting doorbells from its durable consumer, as many as carry the tasks that are wanted.

`fetch` of nats-py costs three times as much per message and gets no messages after a server restart (nats-io/nats.py#504,
findings/nats-py-fetch-is-deaf-after-a-server-restart.sh).
"""

import collections
import math
import time
from collections.abc import Callable, Container, Iterable
from typing import Final
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
FIRST_SIZE: Final = 8.0  # tasks that a doorbell is expected to carry before any came
SIZE_WEIGHT: Final = 0.125  # of the newest doorbell in that expectation

UNREADABLE: Final = catalogue.DOORBELLS_UNREADABLE.create()
REDELIVERED: Final = catalogue.DOORBELLS_REDELIVERED.create()


class Held:
    """A doorbell held by this worker: its tasks, its message, and since when (monotonic seconds).

    Its tasks are taken a few at a time, as slots are free. It is acked when all were taken and decided: claimed, or seen not to be claimable. Otherwise
    it goes back whole, at its place in the lane; whoever gets it next leaves out what was claimed.
    """

    __slots__ = ("_message", "_taken", "given_back", "ids", "open", "passed", "since")

    def __init__(self, ids: list[UUID], message: Msg, since: float) -> None:
        self.ids, self._message, self.since = ids, message, since
        self._taken = 0
        self.open = 0  # tasks that were taken and are not decided
        self.passed = False  # a task that was decided could have been claimed, and was not
        self.given_back = False

    @property
    def reply(self) -> str:
        """Where its ack goes."""
        return self._message.reply

    @property
    def place(self) -> int:
        """Its number in the stream: doorbells of a lane are served in this order."""
        return self._message.metadata.sequence.stream

    @property
    def left(self) -> int:
        """Tasks that were not taken."""
        return len(self.ids) - self._taken

    @property
    def is_done(self) -> bool:
        """Whether every task was decided; it is then to be acked, or given back if one was passed over."""
        return not (self.open or self.given_back or self._taken < len(self.ids))

    def take(self, most: int) -> list[UUID]:
        """Up to `most` of the tasks that were not taken."""
        ids = self.ids[self._taken : self._taken + most]
        self._taken += len(ids)
        self.open += len(ids)
        return ids


Part = tuple[Held, list[UUID]]  # tasks that were taken, and the doorbell that carries them


class Pull:
    """The doorbells of one lane. Calls `rang` whenever it holds more.

    `waiting` counts the tasks in `buffer`. A doorbell of several tasks that was delivered before is `returned`, not in the buffer: some of its tasks may
    have been claimed since, and `sifted` says which were not.
    """

    def __init__(self, bus: Bus, queue: str, priority: int, rang: Callable[[], None]) -> None:
        self.queue, self.priority = queue, priority
        self.buffer: collections.deque[Held] = collections.deque()
        self.waiting = 0
        self.returned: list[Held] = []
        self._size = FIRST_SIZE
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

    async def ask_anew(self) -> None:
        """Withdraw the open requests: the server drops those of an inbox that nobody subscribes."""
        if self._asked and not self._closed:
            old, self._inbox, self._asked = self._inbox, self._bus.inbox(), 0
            await self.open()
            await self._bus.unsubscribe(old)

    async def top_up(self, want: int, most: int | None = None) -> None:
        """Request doorbells so that about `want` tasks are held or requested, and never more than `most`. Cheap when there is nothing to request."""
        if self._closed:
            return
        now = time.monotonic()
        if self._generation != self._bus.generation or (self._asked and now - self._heard > DEAF_SECONDS):
            self._generation, self._asked = self._bus.generation, 0
        expected = self.waiting + self._asked * self._size
        missing = want - expected
        if missing <= 0 or missing * 2 < want or now < self._not_before:
            return
        batch = math.ceil(missing / self._size)
        if most is not None:
            batch = min(batch, int((most - expected) / self._size))
        if batch <= 0:
            return
        body = {"batch": batch, "expires": int(EXPIRY_SECONDS * 1e9), "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9)}
        if await self._bus.publish(self._subject, msgspec.json.encode(body), self._inbox):
            self._asked += batch
            self._heard = now

    def take(self, most: int) -> list[Part]:
        """Take up to `most` tasks from the buffer, oldest doorbell first."""
        parts: list[Part] = []
        most = min(most, self.waiting)
        self.waiting -= most
        while most:
            bell = self.buffer[0]
            ids = bell.take(most)
            most -= len(ids)
            parts.append((bell, ids))
            if not bell.left:
                self.buffer.popleft()
        return parts

    def sifted(self, bell: Held, claimable: Container[UUID]) -> bool:
        """Keep the claimable tasks of a doorbell that had returned, at its place; False if there are none."""
        self.returned.remove(bell)
        bell.ids = [task for task in bell.ids if task in claimable]
        if bell.ids:
            behind = (number for number, other in enumerate(self.buffer) if other.place > bell.place)
            self.buffer.insert(next(behind, len(self.buffer)), bell)
            self.waiting += len(bell.ids)
        return bool(bell.ids)

    def give_up(self, bells: Iterable[Held]) -> list[Held]:
        """Take these doorbells, from the buffer or returned, out of it; the caller gives them back."""
        gone = list(bells)
        if gone:
            for bell in gone:
                bell.given_back = True
            self.returned = [bell for bell in self.returned if not bell.given_back]
            self.buffer = collections.deque([bell for bell in self.buffer if not bell.given_back])
            self.waiting = sum([bell.left for bell in self.buffer])
        return gone

    async def _take(self, message: Msg) -> None:
        self._heard = time.monotonic()
        if message.headers and "Status" in message.headers and not message.data:
            self._status(message.headers)
            return
        self._asked = max(0, self._asked - 1)
        try:
            ids = subjects.read_doorbell(message.data)
        except ValueError as error:
            UNREADABLE.inc()
            log.warning("malformed doorbell deleted", subject=message.subject, error=str(error))
            await self._bus.publish(message.reply, b"+TERM")
            return
        if is_again := subjects.delivered_before(message.reply):
            REDELIVERED.inc()
        bell = Held(ids, message, self._heard)
        self._size += (len(ids) - self._size) * SIZE_WEIGHT
        if is_again and len(ids) > 1:
            self.returned.append(bell)
        else:
            self.buffer.append(bell)
            self.waiting += len(ids)
        self._rang()

    def _status(self, headers: dict[str, str]) -> None:
        if headers["Status"] == "100":
            return
        left = headers.get("Nats-Pending-Messages", "")
        self._asked = max(0, self._asked - int(left)) if left.isdigit() else 0
        if headers["Status"] != "408":  # 408 is the normal end of a request; other statuses mean that the consumer is missing or moves
            self._not_before = time.monotonic() + PULL_RETRY_SECONDS


async def ack(bus: Bus, bells: list[Held]) -> None:
    """Ack doorbells, which deletes them from the stream. A lost ack is harmless: the doorbell comes again, and its tasks are not claimable."""
    if bells:
        await bus.publish_all([(bell.reply, b"") for bell in bells])


async def give_back(bus: Bus, bells: list[Held]) -> None:
    """Give doorbells to other workers, at once."""
    if bells:
        await bus.publish_all([(bell.reply, b"-NAK") for bell in bells])
