"""What the handler of a task emits, in its order, until the task has ended: first what is kept, then live.

Live values are in a stream in memory for ten minutes; the last ones of each ended attempt are in Postgres. Both together, by their attempt and number.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle.bus import stored, subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.loops import wait_for
from waggle.store import tasks
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import AT_REST, Status, Task
from waggle_api.connections import borrowed
from waggle_api.control.waits import Waits

LOOK_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.02
START: Final = (0, -1)

Mark = tuple[int, int]
"""An attempt, and the number of a value in it."""


class EmittedValue(msgspec.Struct, frozen=True):
    """A value that an attempt emitted; `number` counts those of its attempt from 0."""

    attempt: int
    number: int
    at: datetime
    value: msgspec.Raw

    @property
    def mark(self) -> Mark:
        return self.attempt, self.number


class NewAttempt(NamedTuple):
    """The values that follow are those of another attempt."""

    attempt: int


class Ended(NamedTuple):
    """The task has come to rest: no more values follow."""

    status: Status


Followed = EmittedValue | NewAttempt | Ended

_one: Final = msgspec.json.Decoder(EmittedValue)
_many: Final = msgspec.json.Decoder(list[EmittedValue])


class Following:
    """All who follow a task in this process."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, waits: Waits) -> None:
        self._pool, self._bus, self._waits = pool, bus, waits
        self._woken: dict[UUID, set[asyncio.Event]] = {}
        self._ended = False

    def end(self) -> None:
        """End all of them."""
        self._ended = True
        for events in self._woken.values():
            for event in events:
                event.set()

    async def values(self, task_id: UUID, after: Mark) -> AsyncIterator[Followed | None]:
        """What comes after a mark. None where there is nothing to say. Ends with the task, which exists."""
        place, mark = 0, after
        with self._waits.watching(task_id) as woken:
            async with self._listening(task_id, woken):
                while not self._ended:
                    woken.clear()
                    task, kept = await self._kept(task_id)
                    live, place = await self._live(task_id, place)
                    for found in _in_order([*kept, *live], mark):
                        if found.attempt != mark[0]:
                            yield NewAttempt(found.attempt)
                        yield found
                        mark = found.mark
                    if task is None:
                        return
                    if task.status in AT_REST:
                        yield Ended(task.status)
                        return
                    yield None
                    await wait_for(woken, LOOK_SECONDS)
                    await asyncio.sleep(GATHER_SECONDS)

    async def _kept(self, task_id: UUID) -> tuple[Task | None, list[EmittedValue]]:
        """The task, and the values of its ended attempts. While Postgres is away, the task goes on."""
        while not self._ended:
            try:
                async with borrowed(self._pool) as connection:
                    task = (await tasks.get_many(connection, [task_id])).get(task_id)
                    return task, [value for text in await tasks.emitted(connection, task_id) for value in _read(_many, text)]
            except POSTGRES_OUTAGE:
                await asyncio.sleep(LOOK_SECONDS)
        return None, []

    async def _live(self, task_id: UUID, place: int) -> tuple[list[EmittedValue], int]:
        """The values in the stream after a place, and the place after them. While NATS is away there are none."""
        found: list[EmittedValue] = []
        with contextlib.suppress(*NATS_OUTAGE):
            more = True
            while more:
                batch = await stored.read(self._bus, subjects.GET_STREAMS, subjects.stream(task_id), place + 1)
                found += [value for message in batch.messages for value in _read(_one, message.data)]
                place, more = max(place, batch.next - 1), batch.more
        return found, place

    @contextlib.asynccontextmanager
    async def _listening(self, task_id: UUID, woken: asyncio.Event) -> AsyncIterator[None]:
        """Set `woken` whenever something is emitted."""
        subject, events = subjects.stream(task_id), self._woken.setdefault(task_id, set())
        events.add(woken)

        async def told(_: object) -> None:
            for event in events:
                event.set()

        if len(events) == 1:
            await self._bus.subscribe(subject, told)
        try:
            yield
        finally:
            events.discard(woken)
            if not events:
                self._woken.pop(task_id, None)
                await self._bus.unsubscribe(subject)


def _in_order(values: Iterable[EmittedValue], after: Mark) -> Iterator[EmittedValue]:
    """Each once, those after a mark."""
    found = {value.mark: value for value in values if value.mark > after}
    for mark in sorted(found):
        yield found[mark]


def _read(decoder: Any, text: str | bytes) -> list[EmittedValue]:
    """None of what SQL or somebody else made up."""
    try:
        found = decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return []
    return found if isinstance(found, list) else [found]
