"""The rows that a test starts with: tasks in each state, and workers that are alive or gone."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from waggle.store import catalogue, leases, tasks
from waggle.store.catalogue import TaskType, version_of
from waggle.store.client import Connection
from waggle.store.leases import LeaseRow
from waggle.store.tasks import NewTask
from waggle.task import Claimed, Fence

A_TASK = NewTask(id=UUID(int=0), type="demo.echo", queue="default", priority=1, payload="{}", max_retries=3, timeout=30.0)


def new_task(**fields: Any) -> NewTask:
    """A task to insert, with a fresh id."""
    return msgspec.structs.replace(A_TASK, **{"id": uuid7(), **fields})


async def waiting(connection: Connection, count: int = 1, *, ring: bool = True, **fields: Any) -> list[UUID]:
    """Pending tasks; rung (`rung_at` is set) by default."""
    made = [new_task(**fields) for _ in range(count)]
    inserted = await tasks.insert(connection, made, ring=ring)
    assert len(inserted) == count
    return [task.id for task in made]


async def alive(connection: Connection, worker_id: str = "w1", seconds: float = 15.0) -> str:
    """A worker with a live lease."""
    await leases.register(
        connection, LeaseRow(id=worker_id, host="here", pid=1, version="0", seconds=seconds, concurrency=10, queues=["default"], types=["demo.echo"])
    )
    return worker_id


async def serves_version(connection: Connection, worker_id: str, schema: str, *, task_type: str = "demo.echo", queue: str = "default") -> str:
    """A worker with a live lease that has announced a version of a type."""
    await catalogue.announce(connection, [TaskType(task_type, "default", 3, 10.0, True, schema)], ["default"])
    row = LeaseRow(id=worker_id, host="here", pid=1, version="0", seconds=60.0, concurrency=1, queues=[queue], types=[task_type], versions=[version_of(schema)])
    await leases.register(connection, row)
    return worker_id


async def gone(connection: Connection, worker_id: str, seconds: float = 60.0) -> None:
    """Set a worker's last heartbeat to `seconds` ago. (A lease counts from the start of the postmaster at the earliest.)"""
    await connection.execute("UPDATE waggle.workers SET last_seen = now() - $2 * interval '1 second', lease = '1 ms' WHERE id = $1", worker_id, seconds)


async def running(connection: Connection, count: int = 1, worker_id: str = "w1", **fields: Any) -> list[Claimed]:
    """Tasks claimed by this worker, which must be alive."""
    ids = await waiting(connection, count, **fields)
    claimed = await tasks.claim(connection, ids, worker_id)
    assert len(claimed) == count
    return claimed


def fence(claimed: Claimed, worker_id: str = "w1") -> Fence:
    return Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at)


async def row(connection: Connection, task_id: UUID) -> Mapping[str, Any]:
    """The whole row of a task."""
    found = await connection.fetchrow("SELECT * FROM waggle.tasks WHERE id = $1", task_id)
    assert isinstance(found, asyncpg.Record)
    return dict(found)


async def change(connection: Connection, task_ids: UUID | list[UUID], assignments: str) -> None:
    """Change rows directly in the table: `change(pool, ids, "rung_at = now() - interval '1 minute'")`."""
    ids = [task_ids] if isinstance(task_ids, UUID) else task_ids
    await connection.execute(f"UPDATE waggle.tasks SET {assignments} WHERE id = ANY ($1)", ids)
