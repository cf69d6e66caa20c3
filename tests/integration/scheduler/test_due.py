"""A due task is rung at its time, once, with any number of schedulers, and only while NATS is connected."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from support import given, stream
from support.facts import never, until
from support.fleet import FleetSettings
from support.loops import loop
from support.servers import NatsServer
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle_scheduler import due

Pool = asyncpg.Pool

pytestmark = pytest.mark.usefixtures("lanes")


@asynccontextmanager
async def ringing(pool: Pool, bus: Bus, settings: FleetSettings) -> AsyncIterator[None]:
    """The loop of a scheduler for due tasks, and the one that listens for new ones."""
    wake, stopping = asyncio.Event(), asyncio.Event()
    async with loop(due.listen(settings, wake, stopping)), loop(due.ring(pool, bus, Ringer(bus, subjects.IDS_LIMIT), wake, stopping)):
        yield


@pytest.fixture
async def scheduler(pool: Pool, bus: Bus, settings: FleetSettings) -> AsyncIterator[None]:
    async with ringing(pool, bus, settings):
        await until(lambda: listener(pool))
        yield


async def listener(pool: Pool) -> int | None:
    """The backend of the listening connection."""
    found: int | None = await pool.fetchval("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'waggle-scheduler'")
    return found


async def holds(bus: Bus, count: int) -> bool:
    return await stream.tasks_rung(bus) == count


async def all_rung(pool: Pool) -> bool:
    return not await pool.fetchval("SELECT EXISTS (SELECT FROM waggle.tasks WHERE rung_at IS NULL)")


@pytest.mark.usefixtures("scheduler")
async def test_tasks_are_rung_when_their_time_comes(pool: Pool, bus: Bus) -> None:
    for n in range(100):
        await given.waiting(pool, 1, ring=False, delay=0.2 + n * 0.013)
    await until(lambda: all_rung(pool))
    await until(lambda: holds(bus, 100))
    late = sorted(row[0] for row in await pool.fetch("SELECT extract(epoch FROM rung_at - run_at)::float8 FROM waggle.tasks"))
    assert late[0] >= 0
    assert statistics.median(late) < 0.05
    assert late[-1] < 1.0


@pytest.mark.usefixtures("scheduler")
async def test_a_row_inserted_by_sql_wakes_the_scheduler(pool: Pool, bus: Bus) -> None:
    for count in (1, 2, 3):
        await asyncio.sleep(10 * due.GATHER_SECONDS)  # it sleeps now
        await pool.execute("INSERT INTO waggle.tasks (id, type) VALUES (gen_random_uuid(), 'demo.echo')")
        await pool.execute("NOTIFY waggle_wake")
        await until(partial(holds, bus, count), 1)


async def test_a_task_that_came_without_a_wake_is_found_all_the_same(pool: Pool, bus: Bus, settings: FleetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "LONGEST_SLEEP_SECONDS", 0.3)
    async with ringing(pool, bus, settings):
        await pool.execute("INSERT INTO waggle.tasks (id, type) VALUES (gen_random_uuid(), 'demo.echo')")
        await until(lambda: holds(bus, 1), 3)


async def test_more_than_fits_a_batch_is_rung_without_a_pause(pool: Pool, bus: Bus, settings: FleetSettings) -> None:
    await given.waiting(pool, 3500, ring=False)
    async with ringing(pool, bus, settings):
        await until(lambda: holds(bus, 3500), 5)


@pytest.mark.usefixtures("scheduler")
async def test_two_schedulers_ring_each_due_task_once(pool: Pool, bus: Bus, settings: FleetSettings) -> None:
    async with ringing(pool, bus, settings):
        for _ in range(20):
            await given.waiting(pool, 50, ring=False, delay=0.3)
        await until(lambda: all_rung(pool))
        await until(lambda: holds(bus, 1000))


@pytest.mark.usefixtures("scheduler")
async def test_while_nats_is_away_nothing_is_marked_and_afterwards_all_is_rung(pool: Pool, bus: Bus, nats: NatsServer) -> None:
    nats.kill()
    await until(lambda: not bus.connected)
    await given.waiting(pool, 10, ring=False)
    await never(lambda: pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE rung_at IS NOT NULL"), 0.3)
    nats.start()
    await until(lambda: bus.connected)
    await until(lambda: holds(bus, 10))


@pytest.mark.usefixtures("scheduler")
async def test_a_listening_connection_that_was_lost_is_opened_again(pool: Pool, bus: Bus) -> None:
    before = await listener(pool)
    await pool.execute("SELECT pg_terminate_backend($1)", before)
    await until(lambda: _another_listener(pool, before))
    await given.waiting(pool, 1, ring=False)
    await until(lambda: holds(bus, 1), 2)


async def _another_listener(pool: Pool, before: int | None) -> bool:
    return await listener(pool) not in (None, before)


@pytest.mark.usefixtures("scheduler")
async def test_a_task_that_is_due_but_past_its_deadline_does_not_keep_the_loop_busy(pool: Pool, bus: Bus) -> None:
    late = await given.waiting(pool, 2, ring=False, delay=3600.0)
    await given.change(pool, late, "deadline = now(), run_at = now() - interval '1 minute'")
    await given.waiting(pool, 1, ring=False, delay=0.1)
    await until(lambda: holds(bus, 1))
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE rung_at IS NULL") == 2
