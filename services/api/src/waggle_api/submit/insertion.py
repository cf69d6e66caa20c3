"""Inserts the tasks of a group of submissions, and finds the existing tasks that stand for those that were there before.

After an outage everything here can be repeated with the same ids: a task that already exists under one of our ids is ours.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from waggle import failpoint
from waggle.bus.ring import Doorbell
from waggle.store import idempotency, tasks
from waggle.store.client import PooledConnection
from waggle.store.idempotency import Key
from waggle.store.tasks import Inserted, NewTask
from waggle.task import Priority, Status, Task
from waggle.telemetry import traces
from waggle_api.refusals import Refusal, Unavailable

UNIQUE_KEY_TRIES: Final = 5


class Admitted(NamedTuple):
    """The checked tasks of one submission, to be inserted together or not at all, under an idempotency key if it has one."""

    tasks: list[NewTask]
    key: Key | None = None


class Accepted(NamedTuple):
    """The tasks that stand for a submission, in its order; `created` of them are new. `replayed`: its key had been used before."""

    tasks: list[Task]
    created: int
    replayed: bool = False


class Written(NamedTuple):
    """The outcome of each submission of a group, the doorbells to ring, and the new tasks."""

    outcomes: list[Accepted | Refusal]
    doorbells: list[Doorbell]
    created: list[NewTask]


class Standing(NamedTuple):
    """The tasks that stand for those that were to be inserted, by the ids that those were given; and which of them are new."""

    tasks: dict[UUID, Task]
    created: dict[UUID, NewTask]
    doorbells: list[Doorbell]

    def accepted(self, submission: Admitted) -> Accepted:
        return Accepted([self.tasks[new.id] for new in submission.tasks], sum([new.id in self.created for new in submission.tasks]))


async def insert_plain(connection: PooledConnection, group: Sequence[Admitted], ring: bool) -> Written:
    """Insert submissions without any key: one statement, which is its own transaction."""
    standing = await insert(connection, [new for submission in group for new in submission.tasks], ring)
    return Written([standing.accepted(submission) for submission in group], standing.doorbells, list(standing.created.values()))


async def insert(connection: PooledConnection, wanted: Iterable[NewTask], ring: bool) -> Standing:
    """Insert tasks in the given order. Raises Unavailable if the holder of a unique key changes too often."""
    waiting = {new.id: new for new in wanted}
    standing = Standing({}, {}, [])
    for _ in range(UNIQUE_KEY_TRIES):
        if waiting:
            for row in await tasks.insert(connection, list(waiting.values()), ring=ring):
                new = waiting.pop(row.id)
                standing.created[new.id] = new
                standing.tasks[new.id] = _as_task(new, row)
                if row.rung_at is not None:
                    standing.doorbells.append((new.id, new.queue, new.priority, row.rung_at))
            failpoint.passed("api.inserted")
        if not waiting:
            return standing
        await _find_standing(connection, waiting, standing)
    if waiting:
        raise Unavailable("the task that holds this unique_key changed concurrently; retry the request", retry_after=1)
    return standing


async def _find_standing(connection: PooledConnection, waiting: dict[UUID, NewTask], standing: Standing) -> None:
    """Find what stands for tasks that were not inserted: an earlier try inserted them and its answer was lost, or another task holds their unique key."""
    for task_id, task in (await tasks.get_many(connection, list(waiting))).items():
        standing.tasks[task_id] = task
        standing.created[task_id] = waiting.pop(task_id)
    names = [(new.type, new.unique_key) for new in waiting.values() if new.unique_key is not None]
    if not names:
        return
    holders = await idempotency.unique_holders(connection, names)
    found = await tasks.get_many(connection, list(holders.values()))
    for new in list(waiting.values()):
        holder = found.get(holders.get((new.type, new.unique_key or ""), new.id))
        if holder is not None:  # otherwise it has just ended, and the key is free again
            standing.tasks[new.id] = holder
            del waiting[new.id]


def _as_task(new: NewTask, row: Inserted) -> Task:
    return Task(
        id=new.id,
        type=new.type,
        status=Status.PENDING,
        priority=Priority(new.priority),
        description=new.description,
        created=row.created,
        updated=row.created,
        retry_count=0,
        max_retries=new.max_retries,
        metadata=msgspec.Raw(new.metadata),
        queue=new.queue,
        run_at=row.run_at,
        attempt=0,
        timeout=new.timeout,
        deadline=new.deadline,
        unique_key=new.unique_key,
        trace_id=traces.trace_id(new.traceparent),
    )
