"""What finished longer ago than the retention is deleted, all of it, in small steps, by one scheduler or by several."""

import asyncio

import asyncpg
import pytest
import structlog.testing

from support import given
from support.facts import until
from support.loops import loop
from waggle_scheduler import retention

Pool = asyncpg.Pool


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE", 0.001)
    monkeypatch.setattr(retention, "MOST", 50)


async def finished(pool: Pool, count: int, ago: str) -> None:
    ids = await given.waiting(pool, count)
    moment = f"now() - interval '{ago}'"
    await given.change(pool, ids, f"status = 'completed', created = {moment}, completed_at = {moment}")


async def test_one_walk_deletes_all_that_is_past_its_retention_and_nothing_else(pool: Pool) -> None:
    await finished(pool, 320, "2 days")
    await finished(pool, 30, "1 hour")
    await given.waiting(pool, 200)
    assert await retention.retire_tasks(pool, 86_400.0, asyncio.Event()) == 320
    assert await pool.fetchval("SELECT count(*) FROM tasks") == 230


async def test_old_tasks_that_never_finished_do_not_end_the_walk(pool: Pool) -> None:
    waits = await given.waiting(pool, 200)
    await given.change(pool, waits, "created = now() - interval '3 days'")
    await finished(pool, 60, "2 days")
    assert await retention.retire_tasks(pool, 86_400.0, asyncio.Event()) == 60


async def test_several_walks_at_once_delete_each_task_once(pool: Pool) -> None:
    await finished(pool, 500, "2 days")
    deleted = await asyncio.gather(*(retention.retire_tasks(pool, 86_400.0, asyncio.Event()) for _ in range(3)))
    assert sum(deleted) == 500


async def test_a_stop_ends_a_walk_between_two_steps(pool: Pool) -> None:
    await finished(pool, 200, "2 days")
    stopping = asyncio.Event()
    stopping.set()
    assert await retention.retire_tasks(pool, 86_400.0, stopping) == 50


async def test_a_scheduler_deletes_when_it_starts_and_says_how_much(pool: Pool) -> None:
    await finished(pool, 100, "2 days")
    with structlog.testing.capture_logs() as lines:
        async with loop(retention.retire(pool, 86_400.0, asyncio.Event())):
            await until(lambda: lines)
    assert (lines[0]["event"], lines[0]["tasks"]) == ("deleted what was past its retention", 100)
    assert await pool.fetchval("SELECT count(*) FROM tasks") == 0
