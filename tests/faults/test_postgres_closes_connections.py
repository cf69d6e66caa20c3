"""Postgres closes the connections of the services, also within statements and transactions: each sees an outage, and no service ends."""

import asyncio
from pathlib import Path

import asyncpg

from support.oracle import History, all_at_rest, check, submit_load
from support.scale import figures, sized
from support.system import Services, client_of

Pool = asyncpg.Pool

ROUNDS = sized(60, 600)
PAUSE = 0.05  # seconds between rounds
CLOSE = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^waggle-(api|worker|scheduler|dlq)$'"""


async def test_every_service_goes_on_and_no_task_is_lost(start: Services, pool: Pool, effects: Path) -> None:
    services = [await start("api"), await start("scheduler"), await start("dlq", dlq_retry_limit=1, dlq_backoff_ms=1)]
    services.append(await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=20))
    killer = await asyncpg.connect(start.settings.postgres_url)
    history, closed = History(), 0
    async with client_of(services[0]) as client, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(submit_load(client, history, 10 * ROUNDS, pause=0.02, type="test.work", payload={"seconds": 0.01}))
        for _ in range(ROUNDS):
            closed += await killer.fetchval(CLOSE)
            await asyncio.sleep(PAUSE)  # the rate of the fault
    await killer.close()
    await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert all(service.alive for service in services)
    assert not any(service.logged("crashed") for service in services)
    figures("Postgres closes connections", closed=closed, **counts)
