"""One look of the audit at both servers: what breaks a condition that holds at rest. It only reads, and is right on a system that works meanwhile.

Doorbells are read before rows. A doorbell stays in the stream until its task was claimed, and a task that comes back gets a new `rung_at`: so a task that
was rung before the question, and waits still, had its doorbell there all the time, or lost it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from waggle.bus import doorbells, subjects
from waggle.bus.connection import Bus
from waggle.bus.doorbells import Lying, Stream
from waggle.store import audit, catalogue, waiting

GRACE: Final = 5.0  # seconds that a loop may take
RUNG_GRACE: Final = timedelta(seconds=10)  # a doorbell may be on its way for 5 s; then the orphan loop rings
STRAY_GRACE: Final = 20.0  # seconds until a doorbell whose ack was lost came to a worker again (10 s), and was held (5 s)
PAGE: Final = 5_000
MOST: Final = 10_000  # tasks that are found and named for one condition; of orphans and strays all are counted
EXAMPLES: Final = 5

Pool = asyncpg.Pool


class Condition(NamedTuple):
    """What holds at rest; what a task (or doorbell) that breaks it is like; and what to do about it."""

    holds: str
    broken: str
    advice: str


CONDITIONS: Final = {
    "row": Condition("every task's columns fit its status", "tasks have columns that do not fit their status", "nothing in Waggle writes this: who did?"),
    "timeline": Condition(
        "every task's attempts are in order and fit it",
        "tasks have attempts that are out of order, or do not fit their status and counts",
        "nothing in Waggle writes this: look at `waggle tasks show ID`, and tell us",
    ),
    "unrung": Condition(
        "every due task was rung", "tasks are due, and nobody rang them", "a running scheduler rings them; `waggle audit --repair` does so now"
    ),
    "orphan": Condition(
        "every due task has its doorbell",
        "tasks are due, and their doorbell is not in its lane",
        "a running scheduler rings them again, one between others once the older doorbells have left the lane; `waggle audit --repair` does so now",
    ),
    "stray": Condition(
        "every doorbell has its task",
        "doorbells lie in the stream for tasks that cannot be claimed, and nobody takes them out",
        "harmless; `waggle audit --repair` removes them",
    ),
    "lost": Condition(
        "every running task has a live worker", "tasks run without a live worker", "a running scheduler takes them back; `waggle audit --repair` does so now"
    ),
    "overdue": Condition(
        "no task is past its deadline", "unfinished tasks are past their deadline", "a running scheduler fails them; `waggle audit --repair` does so now"
    ),
}


@dataclass
class Found:
    """What breaks one condition. `at_least`: there may be more."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    at_least: bool = False

    def add(self, broken: Iterable[object]) -> None:
        for each in broken:
            self.count += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(str(each))

    def add_up_to(self, broken: list[UUID], most: int) -> None:
        self.add(broken)
        self.at_least = len(broken) == most


@dataclass
class Seen:
    """What one look saw. `notes` are what is not at rest and yet in order; `strays` are to be removed."""

    found: dict[str, Found] = field(default_factory=lambda: {name: Found() for name in CONDITIONS})
    notes: list[str] = field(default_factory=list)
    tasks: int = 0
    doorbells: int = 0
    strays: list[Lying] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(found.count for found in self.found.values())

    @property
    def history_holds(self) -> bool:
        return not (self.found["row"].count or self.found["timeline"].count)


async def look(pool: Pool, bus: Bus, since: float | None, before: Seen | None = None) -> Seen:
    """Look at everything; at the tasks' history only if it did not hold `before`. Raises an OUTAGE of either server."""
    seen = Seen()
    if before is not None and before.history_holds:
        seen.tasks = before.tasks
    else:
        await _history(pool, seen, since)
    await _lanes(pool, bus, seen)
    seen.found["unrung"].add_up_to(await audit.unrung(pool, GRACE, MOST), MOST)
    seen.found["lost"].add_up_to(await audit.lost(pool, MOST), MOST)
    seen.found["overdue"].add_up_to(await audit.overdue(pool, GRACE, MOST), MOST)
    return seen


async def _history(pool: Pool, seen: Seen, since: float | None) -> None:
    """The rows of all tasks and their attempts, from those that were made `since` seconds ago: ids ascend with time."""
    reached: UUID | None = audit.FIRST
    if since is not None:
        reached = _first_of(await waiting.now(pool) - timedelta(seconds=since))
    while reached is not None:
        step = await audit.walk(pool, reached, PAGE)
        seen.tasks += step.seen
        seen.found["row"].add(step.rows)
        seen.found["timeline"].add(step.timelines)
        reached = step.reached if step.seen == PAGE else None


def _first_of(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=max(0, int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))) << 80)


async def _lanes(pool: Pool, bus: Bus, seen: Seen) -> None:
    """Lane after lane, so that no more than one is in memory; paused ones wait as they are."""
    asked = await waiting.now(pool)
    stream = await doorbells.stream(bus)
    paused = {name for name, is_paused in (await catalogue.queues(pool)).items() if is_paused}
    there = {subjects.work(*lane) for lane in await waiting.lanes(pool)}
    for subject in sorted(there | stream.held.keys()):
        lane = subjects.lane(subject)
        if lane is None:
            await _no_lane(bus, seen, subject, stream)
        elif lane[0] not in paused:
            await _lane(pool, bus, seen, lane, stream, asked)
    if held := [subject for subject in stream.held if (lane := subjects.lane(subject)) and lane[0] in paused]:
        seen.notes.append(f"{', '.join(held)}: left out, the queue is paused")


async def _no_lane(bus: Bus, seen: Seen, subject: str, stream: Stream) -> None:
    """What lies under a subject that is no lane's reaches nobody."""
    async for batch in doorbells.walk(bus, subject, stream.last):
        _add_strays(seen, batch)
        seen.doorbells += len(batch)


async def _lane(pool: Pool, bus: Bus, seen: Seen, lane: tuple[str, int], stream: Stream, asked: datetime) -> None:
    subject, ids, strays = subjects.work(*lane), set[int](), list[Lying]()
    if subject in stream.held:
        async for batch in doorbells.walk(bus, subject, stream.last):
            seen.doorbells += len(batch)
            ids.update([bell.task.int for bell in batch if bell.task])  # numbers take half the room of UUIDs
            strays += await _strays(pool, batch, asked)
    if strays and await doorbells.is_awaited(bus, *lane):
        _add_strays(seen, strays)
    elif strays:
        seen.notes.append(f"{subject}: {len(strays):,} doorbells of tasks that have ended go when a worker has a free slot for this lane")
    orphans = await _orphans(pool, lane, asked - RUNG_GRACE, ids)
    if orphans and stream.held.get(subject, 0) >= stream.lane_limit > 0:
        seen.notes.append(f"{subject}: the lane is full, {len(orphans):,} due tasks wait for room in it")
    else:
        seen.found["orphan"].add(orphans)


async def _orphans(pool: Pool, lane: tuple[str, int], before: datetime, there: set[int]) -> list[UUID]:
    """Claimable tasks of a lane that were rung before a moment and are not among the lane's doorbells."""
    orphans: list[UUID] = []
    reached = (datetime(1970, 1, 1, tzinfo=UTC), audit.FIRST)
    while page := await audit.rung(pool, lane, before, reached, PAGE):
        orphans += [task for _, task in page if task.int not in there]
        reached = page[-1]
    return orphans


async def _strays(pool: Pool, batch: list[Lying], asked: datetime) -> list[Lying]:
    """Doorbells of a batch that should have been acked long ago; for one whose task is not there its own time tells how long."""
    ended = await audit.strays(pool, [bell.task for bell in batch if bell.task], STRAY_GRACE)
    late = asked - timedelta(seconds=STRAY_GRACE)

    def is_stray(bell: Lying) -> bool:
        if bell.task is None:
            return True
        return bell.task in ended and (not ended[bell.task] or bell.rung_at is None or bell.rung_at < late)

    return [bell for bell in batch if is_stray(bell)]


def _add_strays(seen: Seen, strays: list[Lying]) -> None:
    seen.found["stray"].add(bell.task or f"message {bell.number}" for bell in strays)
    seen.strays += strays[: MOST - len(seen.strays)]
