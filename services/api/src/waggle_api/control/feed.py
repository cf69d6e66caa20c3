"""Readers of the events of tasks. They read the stream WAGGLE_EVENTS from where each stands; a message on `waggle.event.>` wakes them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import structlog
from nats.aio.msg import Msg

from waggle.bus import stored, subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.events import TaskEvent
from waggle.bus.jetstream import api_request
from waggle.loops import wait_for
from waggle_api import metrics

log = structlog.get_logger()

LOOK_SECONDS: Final = 1.0  # between two looks that nobody asked for
GATHER_SECONDS: Final = 0.02  # in which several events become one look
BATCH: Final = 500


class WantedEvents(NamedTuple):
    """Which events somebody asks for; None: all. `task` is one task."""

    statuses: frozenset[str] | None = None
    types: frozenset[str] | None = None
    queue: str | None = None
    task: UUID | None = None

    @property
    def subject(self) -> str:
        """The subject that leaves out most of the others."""
        return subjects.events(_only(self.statuses), self.task, _only(self.types))

    def fits(self, event: TaskEvent) -> bool:
        return (
            (self.statuses is None or event.status in self.statuses)
            and (self.types is None or event.type in self.types)
            and (self.queue is None or event.queue == self.queue)
        )


def _only(names: frozenset[str] | None) -> str | None:
    return next(iter(names)) if names is not None and len(names) == 1 else None


class _Cloud(msgspec.Struct):
    """The part of a CloudEvent that decides who gets it."""

    data: TaskEvent


_read: Final = msgspec.json.Decoder(TaskEvent)
_read_cloud: Final = msgspec.json.Decoder(_Cloud)


class Feed:
    """All readers of this process. Call `open()` once before the first."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: set[asyncio.Event] = set()
        self._ended = False

    async def open(self) -> None:
        await self._bus.subscribe(subjects.EVENTS_ALL, self._told)

    def end(self) -> None:
        """End all readers."""
        self._ended = True
        self._wake()

    async def events(self, wanted: WantedEvents, sees: Callable[[TaskEvent], bool], after: int | None) -> AsyncIterator[tuple[int, bytes] | None]:
        """Events with their numbers in the stream, from the one after `after` on, or from now on. None where there is nothing to say."""
        place = after
        woken = asyncio.Event()
        self._waiting.add(woken)
        metrics.LISTENING.inc()
        try:
            while not self._ended:
                woken.clear()
                more = False
                try:
                    if place is None:
                        place = await self.last()
                    batch = await stored.read(self._bus, subjects.GET_EVENTS, wanted.subject, place + 1, BATCH)
                    more = batch.more
                    for message in batch.messages:
                        event = _event(message)
                        if event is not None and wanted.fits(event) and sees(event):
                            yield stored.number(message), message.data
                    place = max(place, batch.next - 1)
                    if not batch.messages and not more and await self._ends_before(place):
                        place, more = 0, True
                except NATS_OUTAGE:
                    await wait_for(woken, LOOK_SECONDS)
                if not more:
                    yield None
                    await wait_for(woken, LOOK_SECONDS)
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            metrics.LISTENING.dec()
            self._waiting.discard(woken)

    async def last(self) -> int:
        """The number of the last event. Raises one of NATS_OUTAGE."""
        message = await stored.latest(self._bus, subjects.GET_EVENTS, subjects.EVENTS_ALL)
        return 0 if message is None else stored.number(message)

    async def _ends_before(self, place: int) -> bool:
        """Whether the stream was made again since `place` was its end: then NATS lost its store. Raises one of NATS_OUTAGE."""
        if await self.last() >= place:
            return False
        info = await api_request(self._bus, subjects.stream_request("INFO", subjects.EVENTS_STREAM))  # of its leader: a replica may lag
        return int(info["state"]["last_seq"]) < place if "state" in info else False

    async def _told(self, _: Msg) -> None:
        self._wake()

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


def _event(message: Msg) -> TaskEvent | None:
    """None for what nobody of Waggle has published."""
    try:
        return _read_cloud.decode(message.data).data if message.data.startswith(b'{"specversion"') else _read.decode(message.data)
    except msgspec.DecodeError:
        return None
