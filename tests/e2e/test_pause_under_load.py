"""A queue is paused and resumed again and again under load, with workers that come and go: nothing is lost, and nothing is done twice."""

import asyncio
from pathlib import Path

import asyncpg

from support.facts import until
from support.oracle import History, all_at_rest, check, submit_load
from support.system import Client, Services, client_of, ok

TASKS = 2_000
PAUSES = 5
SLOTS = 20


async def test_nothing_is_lost_and_nothing_runs_twice(start: Services, pool: "asyncpg.Pool[asyncpg.Record]", effects: Path) -> None:
    api = await start("api")
    await start("scheduler")

    async def worker() -> None:
        await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS)

    await worker()
    await worker()
    history = History()
    async with client_of(api) as client:
        load = asyncio.create_task(submit_load(client, history, TASKS, type="test.work", payload={"seconds": 0.05}))
        for turn in range(PAUSES):
            done = await completed(pool)
            await until(lambda done=done: goes_on(pool, done), what="work goes on after a resume")  # type: ignore[misc]
            await paused(client, pool)
            if turn == PAUSES // 2:
                await worker()
            ok(await client.post("/api/queues/default/resume"))
        await load
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert counts["tasks"] == TASKS
    assert counts["extra_attempts"] == 0


async def paused(client: Client, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Pause, and wait until nothing of the queue runs any more."""

    async def nothing_runs() -> bool:
        return not await pool.fetchval("SELECT EXISTS (SELECT FROM waggle.tasks WHERE status = 'running')")

    ok(await client.post("/api/queues/default/pause"))
    await until(nothing_runs)


async def completed(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    return int(await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'completed'"))


async def goes_on(pool: "asyncpg.Pool[asyncpg.Record]", done: int) -> bool:
    """Whether more tasks are completed than that; on a slow day they all are, and the pauses that are left hit an empty queue."""
    return await completed(pool) > done or done == TASKS
