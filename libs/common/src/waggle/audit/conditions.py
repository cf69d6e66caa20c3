"""The conditions of the audit, and one observation of both servers. It only reads, and it is right on a busy system.

Doorbells are read before rows. A doorbell stays in the stream until its task was claimed, and a task that becomes pending again gets a new `rung_at`.
So a task that was rung before the observation began, and still waits, either has its doorbell in the stream or has lost it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from waggle.bus import doorbells, subjects
from waggle.bus.connection import Bus
from waggle.bus.doorbells import QueuedDoorbell, Stream
from waggle.store import alerts, audit, catalogue, figures, snapshots, waiting

GRACE: Final = 5.0  # seconds that a scheduler's loop may take
RUNG_GRACE: Final = timedelta(seconds=10)  # a doorbell may be on its way for 5 s; after that the orphan loop rings again
STRAY_GRACE: Final = 20.0  # seconds until a doorbell whose ack was lost has been delivered again (10 s) and held (5 s)
PAGE: Final = 5_000
FOUND_LIMIT: Final = 10_000  # tasks found for one condition; orphans and stray doorbells are all counted
EXAMPLES: Final = 5
FIRING_LIMIT: Final = 20

Pool = asyncpg.Pool


class Condition(NamedTuple):
    """What must hold, what a violation looks like, and what to do about it."""

    holds: str
    broken: str
    advice: str


CONDITIONS: Final = {
    "row": Condition(
        "every task's columns fit its status",
        "tasks have columns that do not fit their status",
        "Waggle never writes such rows: find out what else writes to this table; `waggle audit --repair` corrects what it can",
    ),
    "timeline": Condition(
        "every task's attempts are in order and fit it",
        "tasks have attempts that are out of order, or do not fit their status and counts",
        "Waggle never writes such rows: look at `waggle tasks show ID`, and report it as a bug",
    ),
    "unrung": Condition("every due task was rung", "tasks are due but were never rung", "a running scheduler rings them; `waggle audit --repair` does so now"),
    "orphan": Condition(
        "every due task has its doorbell",
        "tasks are due, and their doorbell is not in its lane",
        "a running scheduler rings them again, as soon as the older doorbells have left the lane; `waggle audit --repair` does so now",
    ),
    "stray": Condition(
        "every doorbell has its task",
        "doorbells in the stream belong to tasks that cannot be claimed, and no worker acks them",
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
class Violation:
    """What breaks one condition. `at_least`: there may be more than `count`."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    at_least: bool = False

    def add(self, broken: Iterable[object]) -> None:
        for each in broken:
            self.count += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(str(each))

    def add_up_to(self, broken: list[UUID], limit: int) -> None:
        self.add(broken)
        self.at_least = len(broken) == limit


@dataclass
class Observation:
    """What was seen. `notes` say what is not at rest but in order; `strays` are the doorbells to remove, `odd` the rows to
    correct."""

    found: dict[str, Violation] = field(default_factory=lambda: {name: Violation() for name in CONDITIONS})
    notes: list[str] = field(default_factory=list)
    tasks: int = 0
    doorbells: int = 0
    strays: list[QueuedDoorbell] = field(default_factory=list)
    odd: list[UUID] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(found.count for found in self.found.values())

    @property
    def history_holds(self) -> bool:
        return not (self.found["row"].count or self.found["timeline"].count)


async def observe(pool: Pool, bus: Bus, since: float | None, before: Observation | None = None) -> Observation:
    """Check every condition; the tasks' history only if it did not hold `before`. Raises one of SERVER_ERRORS."""
    seen = Observation()
    if before is not None and before.history_holds:
        seen.tasks = before.tasks
    else:
        await _history(pool, seen, since)
    await _lanes(pool, bus, seen)
    seen.found["unrung"].add_up_to(await audit.unrung(pool, GRACE, FOUND_LIMIT), FOUND_LIMIT)
    seen.found["lost"].add_up_to(await audit.lost(pool, FOUND_LIMIT), FOUND_LIMIT)
    seen.found["overdue"].add_up_to(await audit.overdue(pool, GRACE, FOUND_LIMIT), FOUND_LIMIT)
    await _surroundings(pool, seen)
    return seen


async def _surroundings(pool: Pool, seen: Observation) -> None:
    """What makes all work slow, and what schedulers have found: no task is inconsistent by it."""
    for snapshot in await snapshots.held(pool):
        if snapshot.is_old:
            seen.notes.append(f"{snapshot.kind} {snapshot.name} keeps Postgres from removing dead rows: see `waggle doctor`")
    for row in await figures.bloated(pool):
        seen.notes.append(f"the table {row['table']} has {row['dead']:,} dead rows beside {row['live']:,} live ones: see `waggle doctor`")
    for row in await alerts.listing(pool, True, FIRING_LIMIT):
        seen.notes.append(f"the alert {row['name']} fires: {row['summary']}")


async def _history(pool: Pool, seen: Observation, since: float | None) -> None:
    """The rows of all tasks and their attempts, or only of tasks created in the last `since` seconds: ids ascend with time."""
    reached: UUID | None = audit.FIRST
    if since is not None:
        reached = _first_of(await waiting.now(pool) - timedelta(seconds=since))
    while reached is not None:
        step = await audit.walk(pool, reached, PAGE)
        seen.tasks += step.seen
        seen.found["row"].add(step.rows)
        seen.found["timeline"].add(step.timelines)
        seen.odd += [*step.rows, *step.timelines][: FOUND_LIMIT - len(seen.odd)]
        reached = step.reached if step.seen == PAGE else None


def _first_of(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=max(0, int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))) << 80)


async def _lanes(pool: Pool, bus: Bus, seen: Observation) -> None:
    """One lane at a time, so that only one is in memory. Lanes of paused queues are left out."""
    asked = await waiting.now(pool)
    stream = await doorbells.stream(bus)
    paused = {name for name, is_paused in (await catalogue.queues(pool)).items() if is_paused}
    lanes = await waiting.lanes(pool)
    known = {subjects.work(*lane) for lane in lanes if subjects.fits(lane[0])}
    seen.notes += [
        f"{queue!r} is not usable as the name of a queue: its tasks wait" for queue in sorted({queue for queue, _ in lanes if not subjects.fits(queue)})
    ]
    for subject in sorted(known | stream.held.keys()):
        lane = subjects.lane(subject)
        if lane is None:
            await _no_lane(bus, seen, subject, stream)
        elif lane[0] not in paused:
            await _lane(pool, bus, seen, lane, stream, asked)
    if held := [subject for subject in stream.held if (lane := subjects.lane(subject)) and lane[0] in paused]:
        seen.notes.append(f"{', '.join(held)}: left out because the queue is paused")


async def _no_lane(bus: Bus, seen: Observation, subject: str, stream: Stream) -> None:
    """Messages under a subject that is no lane reach no worker."""
    async for batch in doorbells.walk(bus, subject, stream.last):
        _add_strays(seen, batch)
        seen.doorbells += len(batch)


async def _lane(pool: Pool, bus: Bus, seen: Observation, lane: tuple[str, int], stream: Stream, asked: datetime) -> None:
    subject, ids, strays = subjects.work(*lane), set[int](), list[QueuedDoorbell]()
    if subject in stream.held:
        async for batch in doorbells.walk(bus, subject, stream.last):
            seen.doorbells += len(batch)
            ids.update([task.int for bell in batch for task in bell.tasks])  # numbers take half the room of UUIDs
            strays += await _strays(pool, batch, asked)
    if strays and await doorbells.is_awaited(bus, *lane):
        _add_strays(seen, strays)
    elif strays:
        seen.notes.append(f"{subject}: {len(strays):,} doorbells of tasks that have ended stay until a worker has a free slot for this lane")
    orphans = await _orphans(pool, lane, asked - RUNG_GRACE, ids)
    if orphans and stream.held.get(subject, 0) >= stream.lane_limit > 0:
        seen.notes.append(f"{subject}: the lane is full; {len(orphans):,} due tasks wait for room in it")
    else:
        seen.found["orphan"].add(orphans)


async def _orphans(pool: Pool, lane: tuple[str, int], before: datetime, present: set[int]) -> list[UUID]:
    """Claimable tasks of a lane that were rung before a time and have no doorbell in the lane."""
    orphans: list[UUID] = []
    reached = (datetime(1970, 1, 1, tzinfo=UTC), audit.FIRST)
    while page := await audit.rung(pool, lane, before, reached, PAGE):
        orphans += [task for _, task in page if task.int not in present]
        reached = page[-1]
    return orphans


async def _strays(pool: Pool, batch: list[QueuedDoorbell], asked: datetime) -> list[QueuedDoorbell]:
    """Doorbells of a batch that should have been acked long ago: none of their tasks can be claimed. If one is missing, the doorbell's own time decides."""
    ended = await audit.stale_doorbells(pool, [task for bell in batch for task in bell.tasks], STRAY_GRACE)
    late = asked - timedelta(seconds=STRAY_GRACE)

    def is_stray(bell: QueuedDoorbell) -> bool:
        is_late = bell.rung_at is None or bell.rung_at < late
        return all(task in ended and (not ended[task] or is_late) for task in bell.tasks)

    return [bell for bell in batch if is_stray(bell)]


def _add_strays(seen: Observation, strays: list[QueuedDoorbell]) -> None:
    seen.found["stray"].add(bell.tasks[0] if bell.tasks else f"message {bell.number}" for bell in strays)
    seen.strays += strays[: FOUND_LIMIT - len(seen.strays)]
