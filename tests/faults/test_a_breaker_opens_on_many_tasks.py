"""The service that one task type calls fails, and thousands of its tasks wait: none uses up a try, and other types keep their throughput."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.called import Called, called
from support.facts import until
from support.oracle import History, all_at_rest, check
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
BEHIND_THE_BREAKER = sized(500, 5_000)
OTHERS = sized(400, 8_000)
STEPS = 20
SLOTS = 20
KEPT = sized(0.5, 0.9)  # in the suite, a busy machine may be slow in one half of the test only


@pytest.fixture
async def service() -> AsyncIterator[Called]:
    async with called() as made:
        yield made


async def rate_of_others(pool: Pool, ids: list[UUID]) -> float:
    """Tasks per second, by the clock of the database, once all of them are done."""
    row = await pool.fetchrow(
        "SELECT count(*) AS n, max(completed_at) - min(started_at) AS took FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", ids
    )
    assert row is not None
    assert row["n"] == len(ids)
    return float(row["n"] / row["took"].total_seconds())


async def done(pool: Pool, ids: list[UUID]) -> None:
    await until(lambda: pool.fetchval("SELECT count(*) = $2 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", ids, len(ids)), 120.0)


async def test_they_lose_no_try_and_others_keep_their_throughput(start: Services, pool: Pool, service: Called, effects: Path) -> None:
    await start("scheduler")
    await start(
        "worker", environ={"EFFECTS": str(effects)}, app="support.breaker_handlers:app", queues=("default",), concurrency=SLOTS,
        breaker_threshold=3, breaker_reset=sized(4.0, 60.0), breaker_reset_max=sized(4.0, 60.0), breaker_release_rate=sized(200, 500),
    )  # fmt: skip
    call = {"type": "call.counted", "payload": json.dumps({"url": service.url}), "max_retries": 0}
    other = {"type": "call.nobody", "payload": '{"seconds": 0.05}'}
    async with pool.acquire() as connection, connection.transaction():
        alone = await given.waiting(connection, OTHERS, ring=False, **other)
    await done(pool, alone)

    service.status = 503
    await given.waiting(pool, 3, ring=False, **call)  # they open the breaker, and are the only ones that fail
    await until(lambda: pool.fetchval("SELECT count(*) = 3 FROM waggle.tasks WHERE status = 'dead_letter'"))
    calls = len(service.calls)
    beside: list[UUID] = []
    waiting: list[UUID] = []
    async with pool.acquire() as connection, connection.transaction():
        for _ in range(STEPS):
            waiting += await given.waiting(connection, BEHIND_THE_BREAKER // STEPS, ring=False, **call)
            beside += await given.waiting(connection, OTHERS // STEPS, ring=False, **other)
    await done(pool, beside)
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE task_id = ANY ($1) AND outcome = 'snoozed'", waiting) >= len(waiting)
    assert len(service.calls) - calls <= 5, "only probes call a failing service"
    kept = await rate_of_others(pool, beside) / await rate_of_others(pool, alone)

    service.status = 200
    await until(lambda: pool.fetchval("SELECT count(*) = $2 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", waiting, len(waiting)), 240.0)
    await all_at_rest(pool, 30.0)
    assert await pool.fetchval("SELECT max(retry_count) FROM waggle.tasks WHERE id = ANY ($1)", waiting) == 0
    passed = await pool.fetchval("SELECT avg(attempt)::float8 FROM waggle.tasks WHERE id = ANY ($1)", waiting)
    await check(pool, History(accepted=[str(task_id) for task_id in alone + beside + waiting]), effects, duplicates_at_most=0)
    figures("an open breaker", waiting=len(waiting), others=len(beside), throughput_kept=f"{kept:.0%}", attempts_of_each=f"{passed:.2f}", tries_spent=0)
    assert kept >= KEPT
