"""Doorbells of tasks that cannot be claimed: they are acked, or they would stay at the head of their lane for ever."""

from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from support import given, stream
from support.facts import until
from support.system import Services
from waggle.bus.connection import Bus
from waggle.store import tasks, waiting

Pool = asyncpg.Pool


async def test_they_are_acked_and_nothing_runs(pool: Pool, bus: Bus, lanes: None, start: Services) -> None:
    cancelled, later, overdue = await given.waiting(pool, 3)
    await tasks.cancel(pool, cancelled)
    await given.change(pool, later, "run_at = now() + interval '1 hour'")
    await given.change(pool, overdue, "deadline = now()")
    rung_at = await waiting.now(pool)
    deleted = UUID(str(uuid7()))
    await stream.ring(bus, *((task_id, "default", 1, rung_at) for task_id in (cancelled, later, overdue, deleted)))
    await start("worker")
    await until(lambda: stream.holds(bus, 0), 5.0, "sooner than they would come again")
    assert await pool.fetchval("SELECT sum(attempt) FROM waggle.tasks") == 0
