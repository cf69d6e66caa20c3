"""Three dlq services share a bulk retry, two are killed (-9) in the middle: the third continues within seconds, and no task is lost or retried twice."""

from pathlib import Path

import asyncpg

from support.facts import until
from support.given_dead import dead
from support.system import Services, client_of, ok

TASKS = 1_000
RATE = 250


async def test_the_other_goes_on_and_no_task_is_retried_twice(start: Services, pool: "asyncpg.Pool[asyncpg.Record]", effects: Path) -> None:
    await dead(pool, TASKS, type="test.work")
    api = await start("api")
    await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    services = [await start("dlq") for _ in range(3)]
    async with client_of(api) as client:
        redrive = ok(await client.post("/api/dlq/retry", json={"type": "test.work", "rate": RATE}), 202)
        for killed, share in enumerate((0.2, 0.5)):
            await until(lambda share=share: pool.fetchval("SELECT retried >= $1 FROM waggle.redrives", int(TASKS * share)), 60)
            services[killed].kill()
        await until(lambda: pool.fetchval("SELECT state <> 'running' FROM waggle.redrives"), 60)
        found = ok(await client.get(f"/api/dlq/retries/{redrive['id']}"))
        assert (found["state"], found["retried"], found["skipped"]) == ("completed", TASKS, 0)
    assert services[2].logged("redrive completed", redrive_id=redrive["id"])
    assert tuple(await pool.fetchrow("SELECT count(*), count(DISTINCT task_id) FROM waggle.dead_letter_retries")) == (TASKS, TASKS)
    await until(lambda: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'completed'", TASKS), 60)
    ran = [line.split()[1] for line in effects.read_text().splitlines() if line.startswith("ended ")]
    assert len(ran) == len(set(ran)) == TASKS
