"""Worker processes are killed with all their slots full, and one is left: the lost tasks run there at once, and fresh ones do not wait for them."""

import time
from pathlib import Path

import asyncpg
import pytest

from support import given
from support.facts import until
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.rest import at_rest
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
TASKS = sized(100, 1_000)
SECONDS = sized(1.0, 0.3)
LEASE = sized(2.0, 15.0)
DONE_WITHIN = LEASE + 10.0  # of one crash


async def worker(start: Services, effects: Path) -> Process:
    return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=TASKS, lease=LEASE)


async def killed_with_all_slots_full(pool: Pool, victim: Process) -> None:
    query = "SELECT count(*) >= $1 FROM waggle.tasks WHERE status = 'running'"
    await until(lambda: pool.fetchval(query, TASKS // 2), 20)
    victim.kill()


async def lost_more_often_than(pool: Pool, times: int) -> None:
    await until(lambda: pool.fetchval("SELECT max(lost_count) > $1 FROM waggle.tasks", times), LEASE + 10)


@pytest.mark.parametrize("crashes", [1, 2])
async def test_all_are_done_soon_and_fresh_tasks_do_not_wait(start: Services, pool: Pool, effects: Path, crashes: int) -> None:
    await start("scheduler", lease=LEASE)
    victim = await worker(start, effects)
    lost = await given.waiting(pool, TASKS, ring=False, type="test.work", payload=f'{{"seconds": {SECONDS}}}')
    began = time.monotonic()
    for crash in range(crashes):
        await killed_with_all_slots_full(pool, victim)
        if not crash:
            began = time.monotonic()
        victim = await worker(start, effects)
        await lost_more_often_than(pool, crash)
    [fresh] = await given.waiting(pool, ring=False, type="test.work")
    started = time.monotonic()
    await at_rest(pool, fresh)
    fresh_after = time.monotonic() - started
    await all_at_rest(pool, 2 * crashes * DONE_WITHIN)
    done = time.monotonic() - began
    given_back = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'given_back'")
    history = History(accepted=[str(task_id) for task_id in [*lost, fresh]])
    counts = await check(pool, history, effects, duplicates_at_most=crashes * TASKS)
    figures(
        "a worker killed with all its slots full", crashes=crashes, seconds=SECONDS, lease=f"{LEASE:g} s",
        done_after=f"{done:.1f} s", fresh_done_after=f"{fresh_after:.2f} s", given_back=given_back, **counts,
    )  # fmt: skip
    assert done <= crashes * DONE_WITHIN
    assert given_back <= 2 * TASKS
    assert fresh_after <= 1.0
