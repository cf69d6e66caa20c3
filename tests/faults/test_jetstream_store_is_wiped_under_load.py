"""NATS is killed and its whole store deleted under load: a delay, not a loss; no service is restarted."""

import asyncio
from pathlib import Path

import asyncpg

from support.facts import until
from support.oracle import History, all_at_rest, check, submit_load
from support.servers import NatsServer
from support.system import Services, client_of

TASKS = 2_000


async def test_every_accepted_task_completes(start: Services, nats: NatsServer, pool: "asyncpg.Pool[asyncpg.Record]", effects: Path) -> None:
    services = [await start("api"), await start("scheduler")]
    announcer = await start("worker", app="support.handlers:app")
    await announcer.stop()  # the API keeps its types
    history = History()
    async with client_of(services[0]) as client:
        # the stream holds the doorbells of a thousand tasks, and no worker takes them yet
        await submit_load(client, history, TASKS // 2, pause=0.0, type="test.work", payload={"seconds": 0.01})
        services.append(await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=10))
        await until(lambda: pool.fetchval("SELECT count(*) > 20 FROM waggle.tasks WHERE status = 'completed'"))
        load = asyncio.create_task(submit_load(client, history, TASKS // 2, type="test.work", payload={"seconds": 0.01}))
        nats.wipe()
        await load
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert counts["tasks"] == TASKS
    assert services[1].logged("lost doorbells rung again"), "the wipe lost no doorbell, so this test proves nothing"
    assert all(service.alive for service in services)
    print(counts)
