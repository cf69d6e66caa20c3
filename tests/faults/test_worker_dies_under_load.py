"""Workers are killed (-9) at random moments under load: nothing is lost, and what ran twice is explained by the kills."""

import asyncio
import random
from pathlib import Path

import asyncpg

from support.oracle import History, all_at_rest, check, submit_load
from support.system import Services, client_of

TASKS = 2_000
KILLS = 4
SLOTS = 20


async def test_every_accepted_task_completes(start: Services, pool: "asyncpg.Pool[asyncpg.Record]", effects: Path) -> None:
    seed = random.randrange(2**32)  # noqa: S311  # a seed, to be printed
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311  # repeatable chance
    api = await start("api")
    await start("scheduler")

    async def worker() -> object:
        return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS)

    workers = [await worker(), await worker()]
    history = History()
    async with client_of(api) as client:
        load = asyncio.create_task(submit_load(client, history, TASKS, type="test.work", payload={"seconds": 0.02}, max_retries=20))
        for _ in range(KILLS):
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            victim = workers.pop(dice.randrange(len(workers)))
            victim.kill()  # type: ignore[attr-defined]
            workers.append(await worker())
        await load
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=KILLS * SLOTS)
    assert counts["tasks"] == TASKS
    lost = await pool.fetchval("SELECT count(*) FROM task_attempts WHERE outcome = 'lost'")
    print(f"{counts}, {lost} attempts lost with their workers")
    assert 0 < lost <= KILLS * SLOTS, "the kills hit nobody" if not lost else "more was lost than ran"
