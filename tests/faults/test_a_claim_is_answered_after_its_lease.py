"""A worker is stopped between its claim and the answer, past its lease: the claim is valid, and the handler never starts."""

from pathlib import Path
from uuid import UUID

import asyncpg

from support import given
from support.facts import until
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.system import Services
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool
TRIES = 20
CLAIM_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'waggle-worker' AND wait_event_type = 'Lock' AND query LIKE '%attempt = t.attempt + 1%')
"""
NOBODY_WAITS = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'waggle-worker' AND state <> 'idle' AND wait_event_type IS DISTINCT FROM 'Client')
"""


async def stopped_between_claim_and_answer(pool: Pool, bus: Bus, worker: Process, made: list[str]) -> UUID:
    """Make such a claim and stop the worker; returns the task. (The first claim of a connection waits while it is prepared, which is too early: try again.)"""
    ringer = Ringer(bus)
    await ringer.open()
    for _ in range(TRIES):
        [task_id] = await given.waiting(pool, type="test.work")
        made.append(str(task_id))
        rung_at = (await given.row(pool, task_id))["rung_at"]
        async with pool.acquire() as locking, locking.transaction():
            await locking.execute("LOCK TABLE waggle.tasks IN EXCLUSIVE MODE")
            await ringer.ring([(task_id, "default", 1, rung_at)])
            await until(lambda: pool.fetchval(CLAIM_WAITS), what="the claim waits")
            worker.pause()
        await until(lambda: pool.fetchval(NOBODY_WAITS), what="Postgres has executed the claim")
        if (await given.row(pool, task_id))["status"] == "running":
            return task_id
        worker.resume()
        await until(lambda task_id=task_id: pool.fetchval("SELECT status = 'completed' FROM waggle.tasks WHERE id = $1", task_id))  # type: ignore[misc]
    raise AssertionError(f"{TRIES} claims waited, none of them for its rows")


async def test_the_handler_does_not_start(start: Services, pool: Pool, bus: Bus, effects: Path) -> None:
    await start("scheduler")
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    made: list[str] = []
    task_id = await stopped_between_claim_and_answer(pool, bus, worker, made)
    await until(lambda: pool.fetchval("SELECT status = 'pending' FROM waggle.tasks WHERE id = $1", task_id), 20.0, "it is taken back")
    worker.resume()
    await all_at_rest(pool, 30)
    outcomes = [row["outcome"] for row in await pool.fetch("SELECT outcome FROM waggle.task_attempts WHERE task_id = $1 ORDER BY attempt", task_id)]
    assert [outcome for outcome in outcomes if outcome != "given_back"] == ["lost", "completed"]
    did = [line.split()[0::2] for line in effects.read_text().splitlines() if str(task_id) in line]
    assert did == [["began", str(len(outcomes))], ["ended", str(len(outcomes))]]
    await check(pool, History(accepted=made), effects, duplicates_at_most=0)
