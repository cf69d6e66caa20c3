"""Postgres is killed (-9) and started again under load: callers get 503 with Retry-After, and no task loses a try."""

import asyncio
from pathlib import Path

import asyncpg

from support.facts import until
from support.oracle import History, all_at_rest, check, submit_load
from support.scale import dice, figures, sized
from support.servers import PostgresServer
from support.system import Services, client_of

Pool = asyncpg.Pool

KILLS = sized(1, 10)
CLIENTS, EACH = 4, sized(300, 400)
SLOTS = 20
LEASE = 1.0
AWAY = 2.0 * LEASE
AWAY_FIRST = 6.5  # longer than the API retries an insert


async def completed(pool: Pool, more_than: int) -> bool:
    try:
        return bool(await pool.fetchval("SELECT count(*) > $1 FROM waggle.tasks WHERE status = 'completed'", more_than))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def test_nothing_that_was_accepted_is_lost_and_no_try_is_charged(own_postgres: PostgresServer, start: Services, pool: Pool, effects: Path) -> None:
    chance = dice()
    services = [await start("api"), await start("scheduler", lease=LEASE), await start("dlq")]
    services += [await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS, lease=LEASE) for _ in range(2)]
    history, away = History(), 0.0
    async with client_of(services[0]) as client:
        for kill in range(KILLS):
            before = len(history.accepted)
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(submit_load(client, history, EACH, pause=0.1, type="test.work", payload={"seconds": 0.02}, max_retries=0))
                await until(lambda before=before: len(history.accepted) >= before + CLIENTS * EACH // 3, 30.0, "a third is accepted")
                own_postgres.kill()
                seconds = AWAY_FIRST if kill == 0 else chance.uniform(0.0, AWAY)
                await asyncio.sleep(seconds)  # the fault itself: half of the time longer than a lease
                own_postgres.start()
                away += seconds
        await until(lambda: completed(pool, 0), 30.0)
        await all_at_rest(pool, 60)
        assert (await client.get("/readyz")).status_code == 200
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert counts["tasks"] == KILLS * CLIENTS * EACH
    assert history.refused[503], "no caller got a 503, so this test proves nothing"
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count > 0 OR lost_count > 0") == 0
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome IN ('lost', 'failed')") == 0
    assert all(service.alive for service in services)
    figures("Postgres dies under load", kills=KILLS, away=f"{away:.0f} s", told_503=history.refused[503], **counts)
