"""Cleanups: the hooks that are due for tasks that ended without success. The database writes a row with the end; live workers claim them."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from waggle import errors
from waggle.errors import ErrorCode, TaskError
from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.store.tasks import as_task
from waggle.task import Claimed, Task

UNSAID = TaskError(ErrorCode.INTERNAL_ERROR, "the task ended without an error", retryable=False)  # by an operator's SQL


class AtRest(Claimed, frozen=True):
    """A task that ended, in the shape that a Context takes."""

    ended: Task

    def as_task(self) -> Task:
        return self.ended


class PendingCleanup(NamedTuple):
    """One that this worker holds. `attempt` is the task's at its end, 0 when it never ran; `task` is None when the hook is no longer due."""

    task_id: UUID
    attempt: int
    type: str
    tries: int
    task: AtRest | None
    error: TaskError


async def claim(connection: Connection, worker_id: str, types: Sequence[str], busy: Sequence[UUID], most: int) -> list[PendingCleanup]:
    """Take up to `most` that are due for these types, none of the `busy` tasks."""
    rows = await statement("cleanups/claim").fetch(connection, worker_id=worker_id, types=types, busy=busy, most=most)
    return [_cleanup(row) for row in rows]


async def end(connection: Connection, cleanup: PendingCleanup, worker_id: str) -> None:
    """It is done, or given up."""
    await statement("cleanups/end").execute(connection, task_id=cleanup.task_id, attempt=cleanup.attempt, worker_id=worker_id, tries=cleanup.tries)


async def postpone(connection: Connection, cleanup: PendingCleanup, worker_id: str, delay: float, *, counted: bool) -> None:
    """Let any worker take it after `delay` seconds."""
    await statement("cleanups/postpone").execute(
        connection, task_id=cleanup.task_id, attempt=cleanup.attempt, worker_id=worker_id, tries=cleanup.tries, delay=delay, uncounted=not counted
    )


async def delete_expired(connection: Connection, keep: float) -> int:
    """Delete cleanups that have been due for more than `keep` seconds and whose tasks are deleted; returns how many."""
    return await statement("cleanups/delete_expired").execute(connection, keep=keep)


def _cleanup(row: asyncpg.Record) -> PendingCleanup:
    error = UNSAID if row["error"] is None else errors.stored(row["error"])
    return PendingCleanup(
        row["cleanup_task_id"], row["cleanup_attempt"], row["cleanup_type"], row["cleanup_tries"], _at_rest(row) if row["stands"] else None, error
    )


def _at_rest(row: asyncpg.Record) -> AtRest:
    known = {**row, "started_at": row["started_at"] or row["updated"]}
    return AtRest(ended=as_task(row), **{field: known[field] for field in Claimed.__struct_fields__})
