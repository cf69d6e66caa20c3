"""All workers are replaced under load, one after another (SIGTERM): no task is lost, given back after its start, or tried twice."""

from collections import Counter
from pathlib import Path

import asyncpg

from support.load import busy
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.scale import figures, sized
from support.system import Services, client_of

Pool = asyncpg.Pool
ROUNDS = sized(1, 10)
WORKERS = 3
SLOTS = 10


async def test_nothing_is_tried_twice(start: Services, pool: Pool, effects: Path) -> None:
    api = await start("api")
    await start("scheduler")

    async def worker() -> Process:
        return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS, grace=25.0)

    workers = [await worker() for _ in range(WORKERS)]
    history = History()
    async with client_of(api) as client:
        async with busy(client, pool, history, 200, type="test.work", payload={"seconds": 0.1}):
            for _ in range(ROUNDS * WORKERS):
                workers.append(await worker())
                assert await workers.pop(0).stop() == 0
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    began = Counter(line.split()[1] for line in effects.read_text().splitlines() if line.startswith("began "))
    assert max(began.values()) == 1
    assert await pool.fetchval("SELECT max(retry_count + lost_count) FROM waggle.tasks") == 0
    given_back = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'given_back'")
    figures("a rolling restart", restarts=ROUNDS * WORKERS, **counts, claims_given_back_before_their_start=given_back)
