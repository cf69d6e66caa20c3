"""Tasks that time has caught up with: due, orphaned, overdue, past their retention; and rows set aside. Every statement is safe on many replicas at once."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from waggle.errors import ErrorCode, TaskError
from waggle.store.client import Connection, schema_of
from waggle.store.sql import statement
from waggle.store.tasks import as_text
from waggle.task import Status

OVERDUE = TaskError(ErrorCode.TASK_TIMEOUT, "the deadline passed", retryable=False)

Doorbell = tuple[UUID, str, int, datetime]  # task id, queue, priority, rung_at: what the ringer takes


class Overdue(NamedTuple):
    """A task that failed at its deadline, and the worker that ran it, if any."""

    id: UUID
    type: str
    was: Status
    attempt: int
    worker_id: str | None
    queue: str


class RetentionStep(NamedTuple):
    """One step of a retention walk: how far it came, rows seen and deleted."""

    reached: UUID | None
    seen: int
    deleted: int


async def now(connection: Connection) -> datetime:
    """The database's clock."""
    found: datetime = await connection.fetchval("SELECT now()")
    return found


async def mark_due(connection: Connection, most: int, back: float | None = None) -> list[Doorbell]:
    """Mark due tasks as rung, those since `back` seconds ago or all; ring them after the commit."""
    return [(row[0], row[1], row[2], row[3]) for row in await statement("tasks/ring_due").fetch(connection, most=most, back=back)]


async def next_due(connection: Connection, back: float | None = None) -> float | None:
    """Seconds until the earliest task without a doorbell is due, negative when it is overdue; None without one. `back` as in `mark_due`."""
    found: float | None = await statement("tasks/next_due").fetchval(connection, back=back)
    return found


async def lanes(connection: Connection) -> list[tuple[str, int]]:
    """The lanes of rung tasks, paused queues left out."""
    return [(row["queue"], row["priority"]) for row in await statement("tasks/waiting_lanes").fetch(connection)]


async def has_orphans(connection: Connection, lane: tuple[str, int], before: datetime, since: datetime | None = None) -> bool:
    """Whether tasks of a lane that were rung before `before` still wait, of those rung from `since` on or of all."""
    return bool(await statement("tasks/has_orphans").fetchval(connection, queue=lane[0], priority=lane[1], before=before, since=since))


async def mark_orphans(connection: Connection, lane: tuple[str, int], before: datetime, most: int, since: datetime | None = None) -> list[Doorbell]:
    """Mark those tasks as rung again; ring them after the commit."""
    rows = await statement("tasks/ring_orphans").fetch(connection, queue=lane[0], priority=lane[1], before=before, since=since, most=most)
    return sorted(((row[0], row[1], row[2], row[3]) for row in rows), key=lambda bell: bell[0])


async def fail_overdue(connection: Connection, most: int, back: float | None = None) -> list[Overdue]:
    """Fail tasks that passed their deadline, since `back` seconds ago or ever; those that ran must be stopped."""
    rows = await statement("tasks/fail_overdue").fetch(connection, most=most, back=back, error=as_text(OVERDUE))
    return [Overdue(row["id"], row["type"], Status(row["was"]), row["attempt"], row["worker_id"], row["queue"]) for row in rows]


async def unvalidated(connection: Connection) -> list[str]:
    """The constraints that rows of before may break."""
    return [row["name"] for row in await statement("schema/unvalidated").fetch(connection, schema=f'"{schema_of(connection)}"')]


async def odd_rows(connection: Connection, after: UUID, most: int) -> tuple[list[UUID], UUID | None]:
    """The tasks that no service works with among the next `most` after one, and the last that was looked at; None after the end."""
    row = await statement("tasks/odd").fetchrow(connection, after=after, most=most)
    assert row is not None
    return row["odd"], row["reached"]


async def delete_expired(connection: Connection, status: Status, after: UUID, keep: float, most: int) -> RetentionStep:
    """Delete what ended with this status more than `keep` seconds ago among the next `most` tasks after `after`."""
    if status is Status.COMPLETED:
        row = await statement("tasks/delete_expired").fetchrow(connection, after=after, keep=keep, most=most)
    else:
        row = await statement("tasks/delete_expired_failed").fetchrow(connection, status=status, after=after, keep=keep, most=most)
    assert row is not None
    return RetentionStep(*row)


async def delete_expired_keys(connection: Connection, keep: float, most: int) -> int:
    """Delete idempotency keys older than `keep` seconds whose tasks are gone; returns how many."""
    return await statement("keys/delete_expired").execute(connection, keep=keep, most=most)


async def dead_letters(connection: Connection) -> int:
    """The size of the dead letter queue."""
    return int(await statement("dead_letters/size").fetchval(connection))
