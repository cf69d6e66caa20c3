"""Automatic retries: only retryable errors, up to the limit, with a growing backoff, with any number of services."""

import asyncio

import asyncpg
import structlog.testing

from support import given
from support.facts import never, until
from support.fleet import FleetSettings
from support.given_dead import dead, error_of, nobody
from support.loops import loop
from support.system import Services
from waggle.bus.connection import Bus
from waggle_dlq import automatic

Pool = asyncpg.Pool


async def retry(pool: Pool, retries: int = 3, backoff: float = 60.0, age: float | None = None, most: int = 100) -> int:
    return await automatic.retry_due(pool, nobody, retries, backoff, most, age)


async def die_again(pool: Pool, ago: str) -> None:
    await pool.execute(f"UPDATE waggle.tasks SET status = 'dead_letter', attempt = attempt + 1, updated = now() - interval '{ago}' WHERE status = 'pending'")


async def test_a_retryable_dead_letter_is_retried_once_its_time_has_come(pool: Pool) -> None:
    (task_id,) = await dead(pool)
    (other,) = await dead(pool, error=error_of("never", retryable=False))
    assert await retry(pool) == 0
    await given.change(pool, [task_id, other], "updated = now() - interval '61 s'")
    with structlog.testing.capture_logs() as lines:
        assert await retry(pool) == 1
    assert [(line["event"], line["count"]) for line in lines] == [("dead letters retried automatically", 1)]
    row = await given.row(pool, task_id)
    assert (row["status"], row["retry_count"], row["rung_at"]) == ("pending", 0, None)
    assert (await given.row(pool, other))["status"] == "dead_letter"


async def test_each_further_one_waits_twice_as_long_and_after_the_limit_there_is_none(pool: Pool) -> None:
    await dead(pool)
    for number in range(3):
        await pool.execute(f"UPDATE waggle.tasks SET updated = now() - {30 * 2**number} * interval '1 s' + interval '1 s'")
        assert await retry(pool) == 0, "before the shortest backoff"
        await pool.execute(f"UPDATE waggle.tasks SET updated = now() - {60 * 2**number} * interval '1 s'")
        assert await retry(pool) == 1
        await die_again(pool, "0 s")
    await pool.execute("UPDATE waggle.tasks SET updated = now() - interval '100 days'")
    assert await retry(pool) == 0
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries WHERE how = 'automatic'") == 3


async def test_a_retry_by_hand_does_not_count(pool: Pool) -> None:
    (task_id,) = await dead(pool)
    await pool.execute("INSERT INTO waggle.dead_letter_retries (task_id, attempt, how) VALUES ($1, 1, 'manual')", task_id)
    await given.change(pool, task_id, "updated = now() - interval '1 hour'")
    assert await retry(pool, retries=1) == 1


async def test_several_services_at_once_never_exceed_the_limit(pool: Pool) -> None:
    await dead(pool, 200)
    for _ in range(4):
        await pool.execute("UPDATE waggle.tasks SET updated = now() - interval '1 day'")
        await asyncio.gather(*(retry(pool, retries=2, most=1000) for _ in range(4)))
        await die_again(pool, "1 day")
    assert await pool.fetchval("SELECT max(n) FROM (SELECT count(*) AS n FROM waggle.dead_letter_retries GROUP BY task_id) x") == 2
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries") == 400


async def test_what_cannot_be_retried_does_not_stand_in_the_way(pool: Pool) -> None:
    clashing, late = await dead(pool, unique_key="k"), await dead(pool)
    (free,) = await dead(pool)
    await given.waiting(pool, unique_key="k")
    await given.change(pool, clashing + late + [free], "updated = now() - interval '1 hour'")
    await given.change(pool, late, "deadline = now()")
    await given.change(pool, free, "updated = now() - interval '30 min'")
    assert await retry(pool, most=1) == 1
    assert (await given.row(pool, free))["status"] == "pending"


async def test_usually_only_those_that_died_lately_are_looked_at(pool: Pool) -> None:
    (task_id,) = await dead(pool)
    await given.change(pool, task_id, "updated = now() - interval '1 hour'")
    assert await retry(pool, age=1800.0) == 0
    assert await retry(pool) == 1


async def test_the_loop_retries_what_died_before_it_began_and_what_dies_later(pool: Pool, settings: FleetSettings, start: Services) -> None:
    for already in (1, 2):
        await dead(pool)
        if already == 1:
            dlq = await start("dlq", dlq_retry_limit=1, dlq_backoff_ms=100)
        await until(lambda n=already: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'pending'", n))
    assert dlq.logged("dead letters retried automatically", count=1)


async def test_without_a_limit_there_are_no_automatic_retries(pool: Pool, bus: Bus, settings: FleetSettings) -> None:
    await dead(pool)
    await pool.execute("UPDATE waggle.tasks SET updated = now() - interval '1 day'")
    async with loop(automatic.retry(pool, bus, settings, asyncio.Event())):
        await never(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM waggle.tasks WHERE status = 'pending')"), 0.5)
