"""Waiting in the database for tasks to come to rest, where no API runs."""

from typing import Any
from uuid import UUID

import asyncpg

from support import given
from support.facts import until
from support.system import AT_REST


async def at_rest(pool: "asyncpg.Pool[asyncpg.Record]", task_id: UUID, seconds: float = 15.0) -> dict[str, Any]:
    """A task's row once it is at rest, with the outcomes of its attempts."""

    async def row() -> dict[str, Any] | None:
        found = dict(await given.row(pool, task_id))
        return found if found["status"] in AT_REST else None

    found = await until(row, seconds, f"task {task_id} comes to rest")
    found["outcomes"] = [r["outcome"] for r in await pool.fetch("SELECT outcome FROM waggle.task_attempts WHERE task_id = $1 ORDER BY attempt", task_id)]
    return found
