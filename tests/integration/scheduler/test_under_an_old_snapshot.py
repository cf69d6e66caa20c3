"""Somebody's forgotten transaction keeps every dead row. The loops' looks pass over those once in a while, not each time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from support import given
from waggle.repair import reclaim
from waggle.store import leases, tasks, waiting
from waggle.store.postgres import session
from waggle.store.sql import statement
from waggle.task import AttemptOutcome, Status, Step

Pool = asyncpg.Pool

TASKS = 3_000


@pytest.fixture
async def worked(pool: Pool, database: str) -> AsyncIterator[str]:
    """A database in which tasks were rung, ran and ended, and some were due and had a deadline, since a snapshot that is held. A worker is alive, one runs
    there. Gives the database."""
    holder = await asyncpg.connect(database)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetchval("SELECT count(*) FROM waggle.tasks")
    await given.alive(pool)
    await pool.execute("SET enable_seqscan = off")
    for ring in (True, False):
        ids = await given.waiting(pool, TASKS, ring=ring, run_at=datetime.now(UTC) - timedelta(minutes=1), deadline=datetime.now(UTC) + timedelta(hours=1))
        if not ring:
            await waiting.mark_due(pool, TASKS)
        claimed = await tasks.claim(pool, ids, "w1")
        await given.change(pool, [task.id for task in claimed], "deadline = now() - interval '1 second'")
        await tasks.settle(pool, [(given.fence(task), Step(Status.COMPLETED, AttemptOutcome.COMPLETED)) for task in claimed])
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'completed'") == 2 * TASKS
    await given.running(pool)
    yield database
    await holder.close()


@asynccontextmanager
async def counting(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database, server_settings=session("test"))
    yield connection
    await connection.close()


async def pages(connection: asyncpg.Connection, name: str, **values: object) -> int:
    """How many pages this statement reads."""
    found = statement(name)
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {found.text('waggle')}", *found.bind(values))
    root = json.loads(plan)[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


async def test_looks_at_what_is_new_are_small(worked: str, pool: Pool) -> None:
    now = await waiting.now(pool)
    soon = now + timedelta(seconds=1)
    lane = {"queue": "default", "priority": 1, "before": soon}
    looks = {
        "tasks/next_due": ({"back": None}, {"back": 2.0}),
        "tasks/ring_due": ({"back": None, "most": 10}, {"back": 2.0, "most": 10}),
        "tasks/has_orphans": ({**lane, "since": None}, {**lane, "since": now}),
        "tasks/fail_overdue": ({"back": None, "most": 10, "error": "{}"}, {"back": 0.1, "most": 10, "error": "{}"}),
        "tasks/lock_lost": ({"worker_ids": ["w1"], "most": 10, "judging": True}, {"worker_ids": ["w0"], "most": 10, "judging": True}),
    }
    async with counting(worked) as connection:
        await asyncio.sleep(0.2)  # past the deadlines of the last ones
        for name, (everything, new) in looks.items():
            whole, part = await pages(connection, name, **everything), await pages(connection, name, **new)
            assert part < 30 < whole, (name, whole, part)


async def test_a_worker_that_died_under_it_is_found_at_once(worked: str, pool: Pool) -> None:
    gone = reclaim.Gone()
    gone._looks._everything_at = float("inf")  # as after a look at everything that took long
    assert await gone.find(pool, judging=True) == set()
    await given.gone(pool, "w1")
    assert await gone.find(pool, judging=True) == {"w1"}
    gone.emptied({"w1"})
    assert await gone.find(pool, judging=True) == set()
    await given.alive(pool, "w2")
    await gone.find(pool, judging=True)
    await leases.leave(pool, "w2")
    assert await gone.find(pool, judging=False) == {"w2"}


async def test_the_loops_find_what_is_theirs_under_it(worked: str, pool: Pool) -> None:
    gone = reclaim.Gone()
    await gone.find(pool, judging=True)
    await given.gone(pool, "w1")
    assert len(await reclaim.reclaim(pool, 10, worker_ids=await gone.find(pool, judging=True))) == 1
    assert await waiting.next_due(pool, 2.0) is not None
