"""Finished tasks are deleted after the retention of their status, in small batches, by one scheduler or several."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import structlog.testing
from uuid_utils.compat import uuid7

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from waggle.store import tasks
from waggle.task import Status
from waggle_scheduler import retention
from waggle_scheduler.retention import RetentionWalk

Pool = asyncpg.Pool
DAY = 86_400.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(retention, "RETENTION_BATCH", 50)


def id_from(ago: timedelta) -> UUID:
    """An id created the given seconds ago."""
    milliseconds = int((datetime.now(UTC) - ago).timestamp() * 1000)
    return UUID(bytes=milliseconds.to_bytes(6, "big") + uuid7().bytes[6:])


async def given_old(pool: Pool, count: int, ago: timedelta, status: str = "completed", clock: timedelta = timedelta()) -> list[UUID]:
    """Tasks created and finished the given seconds ago; `clock` is the error of the clock that made their ids."""
    made = [given.new_task(id=id_from(ago + clock)) for _ in range(count)]
    await tasks.insert(pool, made, ring=True)
    ids = [task.id for task in made]
    moment = f"now() - interval '{ago.total_seconds()} s'"
    await given.change(pool, ids, f"status = '{status}', created = {moment}, completed_at = {moment}")
    return ids


async def left(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM waggle.tasks"))


async def test_one_walk_deletes_all_that_is_past_its_retention_and_nothing_else(pool: Pool) -> None:
    await given_old(pool, 320, timedelta(days=2))
    await given_old(pool, 30, timedelta(hours=1))
    await given.waiting(pool, 200)
    assert await RetentionWalk(Status.COMPLETED, DAY).go(pool, asyncio.Event()) == 320
    assert await left(pool) == 230


@pytest.mark.parametrize("status", ["pending", "dead_letter", "failed"])
async def test_old_tasks_that_stay_do_not_end_the_walk(pool: Pool, status: str) -> None:
    await given_old(pool, 200, timedelta(days=3), status)
    await given_old(pool, 60, timedelta(days=2))
    assert await RetentionWalk(Status.COMPLETED, DAY).go(pool, asyncio.Event()) == 60


async def test_young_tasks_whose_ids_a_late_clock_made_do_not_end_the_walk(pool: Pool) -> None:
    young = await given_old(pool, 200, timedelta(hours=1), clock=timedelta(days=9))
    await given_old(pool, 60, timedelta(days=2))
    assert await RetentionWalk(Status.COMPLETED, DAY).go(pool, asyncio.Event()) == 60
    assert await left(pool) == len(young)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_each_status_has_an_age_of_its_own(pool: Pool, status: str) -> None:
    for each in ("completed", "failed", "cancelled"):
        await given_old(pool, 60, timedelta(days=2), each)
        await given_old(pool, 5, timedelta(hours=1), each)
    assert await RetentionWalk(Status(status), DAY).go(pool, asyncio.Event()) == 60
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = $1", status) == 5
    assert await left(pool) == 135


async def test_what_finished_late_is_kept_from_its_end_on(pool: Pool) -> None:
    ids = await given_old(pool, 5, timedelta(days=2))
    await given.change(pool, ids[:2], "completed_at = now() - interval '1 hour'")
    assert await RetentionWalk(Status.COMPLETED, DAY).go(pool, asyncio.Event()) == 3


async def test_a_walk_that_leaves_very_many_rows_ends_and_the_next_one_goes_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "KEPT_LIMIT", 100)
    await given_old(pool, 200, timedelta(days=3), "dead_letter")
    await given_old(pool, 60, timedelta(days=2))
    walk = RetentionWalk(Status.COMPLETED, DAY)
    assert [await walk.go(pool, asyncio.Event()) for _ in range(3)] == [0, 0, 60]
    await given_old(pool, 10, timedelta(days=4))
    assert await walk.go(pool, asyncio.Event()) == 10, "after its end it starts again"


async def test_attempts_go_with_their_task(pool: Pool) -> None:
    old, young = await given_old(pool, 2, timedelta(days=2), "failed"), await given_old(pool, 2, timedelta(hours=1), "failed")
    await pool.execute("INSERT INTO waggle.task_attempts SELECT unnest($1::uuid[]), 1, 'w', now(), now(), 'failed'", old + young)
    assert await RetentionWalk(Status.FAILED, DAY).go(pool, asyncio.Event()) == 2
    assert {row["task_id"] for row in await pool.fetch("SELECT task_id FROM waggle.task_attempts")} == set(young)


async def test_several_walks_at_once_delete_each_task_once(pool: Pool) -> None:
    await given_old(pool, 500, timedelta(days=2))
    deleted = await asyncio.gather(*(RetentionWalk(Status.COMPLETED, DAY).go(pool, asyncio.Event()) for _ in range(3)))
    assert sum(deleted) == 500


async def test_a_stop_ends_a_walk_between_two_steps(pool: Pool) -> None:
    await given_old(pool, 200, timedelta(days=2))
    stopping = asyncio.Event()
    stopping.set()
    assert await RetentionWalk(Status.COMPLETED, DAY).go(pool, stopping) == 50


async def test_a_scheduler_deletes_when_it_starts_and_says_how_much(pool: Pool) -> None:
    await given_old(pool, 100, timedelta(days=2))
    await given_old(pool, 7, timedelta(days=2), "failed")
    await given_old(pool, 9, timedelta(days=2), "cancelled")
    settings = FleetSettings(postgres_url="postgresql://not.used/x", nats_url="nats://not.used", retention=DAY, retention_failed=3 * DAY)
    with structlog.testing.capture_logs() as lines:
        async with loop(retention.delete_expired(pool, retention.ages(settings), asyncio.Event())):
            await until(lambda: lines)
    assert (lines[0]["event"], lines[0]["tasks"]) == ("expired rows deleted", 109)
    assert await left(pool) == 7


async def test_keys_are_kept_as_long_as_the_tasks_that_are_kept_longest(pool: Pool) -> None:
    for key, days in (("old", 4), ("younger", 2)):
        await pool.execute(
            "INSERT INTO waggle.idempotency_keys VALUES ('me', $1, 'hash', $2, now() - $3 * interval '1 day')", key, [id_from(timedelta())], days
        )
    settings = FleetSettings(postgres_url="postgresql://not.used/x", nats_url="nats://not.used", retention=DAY, retention_failed=3 * DAY)
    with structlog.testing.capture_logs() as lines:
        async with loop(retention.delete_expired(pool, retention.ages(settings), asyncio.Event())):
            await until(lambda: lines)
    assert [row["key"] for row in await pool.fetch("SELECT key FROM waggle.idempotency_keys")] == ["younger"]
