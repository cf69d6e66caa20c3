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
from support.loops import loop
from support.servers import NatsServer
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.due import LOOK_SECONDS, announce
from waggle.bus.ring import Ringer
from waggle_scheduler import due
from waggle_scheduler.due import DueRinger

Pool = asyncpg.Pool

pytestmark = pytest.mark.usefixtures("lanes")


@asynccontextmanager
async def ringing(pool: Pool, bus: Bus) -> AsyncIterator[None]:
    """The loop of a scheduler for due tasks."""
    async with loop(DueRinger(pool, bus, Ringer(bus, subjects.IDS_LIMIT)).ring(asyncio.Event())):
        yield


@pytest.fixture
async def scheduler(pool: Pool, bus: Bus) -> AsyncIterator[None]:
    async with ringing(pool, bus):
        yield


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
    assert statistics.median(late) < LOOK_SECONDS / 4, "they wait for the next look"


async def test_a_task_written_by_sql_is_found_within_a_look(pool: Pool, bus: Bus) -> None:
    async with ringing(pool, bus):
        for count in (1, 2, 3):
            await pool.execute("INSERT INTO waggle.tasks (id, type) VALUES (gen_random_uuid(), 'demo.echo')")
            await until(partial(holds, bus, count))
    late = await pool.fetch("SELECT extract(epoch FROM rung_at - created)::float8 FROM waggle.tasks")
    assert max(row[0] for row in late) < LOOK_SECONDS + 3.0


async def test_whoever_says_that_a_task_is_due_does_not_wait_for_the_next_look(pool: Pool, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "LOOK_SECONDS", 60.0)
    async with ringing(pool, bus):
        for count in (1, 2, 3):
            await given.waiting(pool, ring=False)
            await announce(bus)
            await until(partial(holds, bus, count))


async def test_more_than_fits_a_batch_is_rung_without_a_pause(pool: Pool, bus: Bus) -> None:
    await given.waiting(pool, 3500, ring=False)
    async with ringing(pool, bus):
        await until(lambda: holds(bus, 3500), 5)


@pytest.mark.usefixtures("scheduler")
async def test_two_schedulers_ring_each_due_task_once(pool: Pool, bus: Bus) -> None:
    async with ringing(pool, bus):
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
async def test_a_task_that_is_due_but_past_its_deadline_does_not_keep_the_loop_busy(pool: Pool, bus: Bus) -> None:
    late = await given.waiting(pool, 2, ring=False, delay=3600.0)
    await given.change(pool, late, "deadline = now(), run_at = now() - interval '1 minute'")
    await given.waiting(pool, 1, ring=False, delay=0.1)
    await until(lambda: holds(bus, 1))
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE rung_at IS NULL") == 2
