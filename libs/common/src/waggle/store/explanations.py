"""What explains tasks: why one waits or how it ended, its life, and what waits in all. Each function is one statement."""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from waggle.store.client import Connection
from waggle.store.sql import statement

MOST: Final = 10_000  # tasks that are counted, or looked at, at most


async def task(connection: Connection, task_id: UUID) -> asyncpg.Record | None:
    """The task with its last attempt, its queue and the worker that holds it: see the statement."""
    return await statement("explanations/task").fetchrow(connection, id=task_id)


async def place(connection: Connection, queue: str, priority: int, rung_at: datetime) -> int:
    """How many tasks of the lane come before one that was rung at this time; MOST for that many or more."""
    return int(await statement("explanations/place").fetchval(connection, queue=queue, priority=priority, rung_at=rung_at, most=MOST))


async def waiting(connection: Connection) -> list[asyncpg.Record]:
    """What waits, grouped: see the statement."""
    return await statement("explanations/waiting").fetch(connection, most=MOST)


async def retries(connection: Connection, task_id: UUID, first: int, last: int) -> list[asyncpg.Record]:
    """Returns from the dead letter queue after the attempts `first` to `last`: retried_at, attempt, how, retried_by, edited."""
    return await statement("explanations/retries").fetch(connection, id=task_id, first=first, last=last)


async def logs(connection: Connection, task_id: UUID, first: int, most: int, attempt: int | None = None) -> list[asyncpg.Record]:
    """What up to `most` ended attempts from `first` on have logged: attempt, logs (JSON text)."""
    return await statement("attempts/logs").fetch(connection, id=task_id, first=first, most=most, attempt=attempt)
