"""Tasks of dead workers are reclaimed: the try counts, and they run again at once or become dead letters. Only a scheduler that would have seen
heartbeats reclaims them."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import pytest
import structlog.testing
from nats.aio.msg import Msg

from support import given
from support.facts import until
from support.loops import loop
from support.servers import PostgresServer
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.repair.reclaim import Connected
from waggle.store import leases, tasks
from waggle_scheduler import reclaim

Pool = asyncpg.Pool
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop runs often, so that tests wait less."""
    monkeypatch.setattr(reclaim, "LOST_SCAN_SECONDS", 0.05)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_scheduler_counts_its_connection_from_the_first_answer() -> None:
    clock = Clock()
    connected = Connected(clock)
    assert connected.seen(STARTED, gap=3) == 0
    clock.now += 2
    assert connected.seen(STARTED, gap=3) == 2


def test_an_outage_begins_the_count_anew() -> None:
    clock = Clock()
    connected = Connected(clock)
    connected.seen(STARTED, gap=3)
    clock.now += 1
    connected.lost()
    assert connected.seen(STARTED, gap=3) == 0


def test_another_postmaster_begins_the_count_anew() -> None:
    clock = Clock()
    connected = Connected(clock)
    connected.seen(STARTED, gap=3)
    clock.now += 1
    assert connected.seen(STARTED + timedelta(seconds=1), gap=3) == 0


def test_a_scheduler_that_was_paused_begins_the_count_anew() -> None:
    clock = Clock()
    connected = Connected(clock)
    connected.seen(STARTED, gap=3)
    clock.now += 3.1
    assert connected.seen(STARTED, gap=3) == 0
    clock.now += 2.9
    assert connected.seen(STARTED, gap=3) > 2.8


async def lose(pool: Pool, count: int = 1, **fields: object) -> list[UUID]:
    """Tasks that ran under a dead worker."""
    name = await given.alive(pool, f"gone-{time.monotonic_ns()}")
    claimed = await given.running(pool, count, name, **fields)
    await given.gone(pool, name)
    return [task.id for task in claimed]


@pytest.mark.usefixtures("lanes")
async def test_a_lost_task_is_taken_back_within_two_seconds_and_told(pool: Pool, bus: Bus) -> None:
    with structlog.testing.capture_logs() as lines:
        async with loop(reclaim.keep_reclaiming(pool, bus, 0.1, asyncio.Event())):
            (first,) = await lose(pool, max_retries=0)
            await until(lambda: _status(pool, first, "dead_letter"), 5)  # now it has been connected for a lease
            took = []
            for _ in range(3):  # the quickest of three: this machine may stand still for a moment
                (task_id,) = await lose(pool)
                since = time.monotonic()
                await until(partial(_status, pool, task_id, "pending"))
                took.append(time.monotonic() - since)
            assert min(took) < 2.0
            await until(lambda: len(lines) == 4)
    row = await given.row(pool, task_id)
    assert (row["retry_count"], row["lost_count"], row["attempt"], row["rung_at"]) == (1, 1, 1, None)
    line = lines[3]
    assert (line["log_level"], line["task_id"], line["type"], line["next"]) == ("warning", str(task_id), "demo.echo", "pending")


async def _status(pool: Pool, task_id: UUID, status: str) -> bool:
    return bool((await given.row(pool, task_id))["status"] == status)


@pytest.mark.usefixtures("often")
async def test_nothing_is_taken_back_before_the_scheduler_was_connected_for_a_lease(pool: Pool, bus: Bus) -> None:
    (task_id,) = await lose(pool)
    stopping, since = asyncio.Event(), time.monotonic()
    async with loop(reclaim.keep_reclaiming(pool, bus, 1.0, stopping)):
        await until(lambda: _status(pool, task_id, "pending"))
    assert time.monotonic() - since >= 1.0


@pytest.mark.usefixtures("often")
async def test_a_scheduler_that_has_just_started_takes_back_only_what_ran_under_a_lease_that_was_ended(pool: Pool, bus: Bus) -> None:
    (expired,) = await lose(pool)
    await given.alive(pool, "dead")
    [ended] = await given.running(pool, worker_id="dead")
    await leases.leave(pool, "dead")
    async with loop(reclaim.keep_reclaiming(pool, bus, 60.0, asyncio.Event())):
        await until(lambda: _status(pool, ended.id, "pending"))
        assert await _status(pool, expired, "running")


@pytest.mark.usefixtures("often")
async def test_those_who_wait_for_the_end_of_a_task_are_told_when_it_died_with_its_worker(pool: Pool, bus: Bus) -> None:
    told: list[UUID] = []

    async def hear(message: Msg) -> None:
        told.extend(subjects.read_settled(message.data))

    await bus.subscribe(subjects.SETTLED, hear)
    (retried,), (dead,) = await lose(pool), await lose(pool, max_retries=0)
    async with loop(reclaim.keep_reclaiming(pool, bus, 0.1, asyncio.Event())):
        await until(lambda: told)
    assert told == [dead]
    assert await _status(pool, retried, "pending")


@pytest.mark.usefixtures("often")
async def test_more_than_fits_a_transaction_is_taken_back_without_a_pause(pool: Pool, bus: Bus) -> None:
    await lose(pool, 350)
    async with loop(reclaim.keep_reclaiming(pool, bus, 0.1, asyncio.Event())):
        await until(lambda: pool.fetchval("SELECT count(*) = 350 FROM waggle.tasks WHERE status = 'pending' AND lost_count = 1"), 5)


@pytest.mark.usefixtures("often")
async def test_several_schedulers_take_each_task_back_once(pool: Pool, bus: Bus) -> None:
    ids = await lose(pool, 300)
    async with AsyncExitStack() as schedulers:
        for _ in range(3):
            await schedulers.enter_async_context(loop(reclaim.keep_reclaiming(pool, bus, 0.1, asyncio.Event())))
        await until(lambda: pool.fetchval("SELECT count(*) = 300 FROM waggle.tasks WHERE status = 'pending'"))
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count = 1 AND lost_count = 1") == len(ids)
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts") == len(ids)


@pytest.mark.usefixtures("often")
async def test_a_worker_that_lives_keeps_its_tasks(pool: Pool, bus: Bus) -> None:
    await given.alive(pool)
    (kept,), (lost,) = await given.running(pool), await lose(pool)
    async with loop(reclaim.keep_reclaiming(pool, bus, 0.1, asyncio.Event())):
        await until(lambda: _status(pool, lost, "pending"))
    assert await _status(pool, kept.id, "running")


@pytest.mark.usefixtures("often")
async def test_after_a_crash_of_postgres_workers_get_a_whole_lease_to_come_back(own_postgres: PostgresServer, pool: Pool, bus: Bus) -> None:
    await given.alive(pool, seconds=1.0)
    (claimed,) = await given.running(pool)
    async with loop(reclaim.keep_reclaiming(pool, bus, 1.0, asyncio.Event())):
        own_postgres.restart()
        since = time.monotonic()
        await until(lambda: _answers(pool))
        while time.monotonic() - since < 2.0:  # the worker keeps its lease
            assert await leases.renew(pool, "w1", running=1, draining=False)
            await asyncio.sleep(0.2)
        assert await _status(pool, claimed.id, "running")
        await until(lambda: _status(pool, claimed.id, "pending"))
    assert [attempt["outcome"] for attempt in await tasks.attempts(pool, claimed.id)] == ["lost"]


async def _answers(pool: Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT true"))
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
        return False
