"""Doorbells that carry several tasks: a worker starts as many as it has slots for, and others get the rest at once and without cost."""

import asyncio

import asyncpg
import pytest

from support import given, stream
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.servers import PostgresServer
from support.system import Services
from waggle import doorbell_sizes
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store import queues

Pool = asyncpg.Pool
RUNNING = "SELECT count(*) FROM waggle.tasks WHERE status = 'running'"
DONE = "SELECT count(*) FROM waggle.tasks WHERE status = 'completed'"


async def rung_together(pool: Pool, bus: Bus, count: int, **fields: object) -> None:
    """Tasks of one lane, rung in doorbells of up to 64."""
    ids = await given.waiting(pool, count, **fields)
    rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks WHERE id = ANY ($1)", ids)
    assert await Ringer(bus, subjects.IDS_LIMIT).ring_confirmed([tuple(row) for row in rows]) is None


async def test_idle_workers_share_a_batch(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    """There are as many tasks as slots. The second batch finds workers that have worked before: none asks for more than it has slots."""
    for _ in range(4):
        await start("worker", app="support.handlers:app", concurrency=16)
    await until(lambda: stream.asked(bus, "default", 4))
    await rung_together(pool, bus, 64, type="test.work", payload='{"seconds": 0.3}')
    await until(lambda: pool.fetchval(f"SELECT ({DONE}) = 64"), 10.0)
    await asyncio.sleep(0.6)
    await rung_together(pool, bus, 64, type="test.work", payload='{"seconds": 10}')
    await until(lambda: pool.fetchval(f"SELECT ({RUNNING}) = 64"), 8.0, "all of them run at the same time")


async def test_what_a_full_worker_cannot_start_runs_elsewhere_without_cost(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    """1,024 tasks are 18 doorbells of 60."""
    await start("worker", app="support.handlers:app", concurrency=5)
    await until(lambda: stream.asked(bus, "default"))
    await rung_together(pool, bus, 1_024, type="test.work", payload='{"seconds": 0.1}')
    assert await stream.doorbells(bus) <= 18
    await start("worker", app="support.handlers:app", concurrency=50)
    await until(lambda: pool.fetchval(f"SELECT ({DONE}) = 1024"), 30.0)
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome <> 'completed'") == 0
    assert await pool.fetchval("SELECT max(attempt) FROM waggle.tasks") == 1
    assert await pool.fetchval("SELECT count(DISTINCT worker_id) FROM waggle.tasks") == 2
    await until(lambda: stream.holds(bus, 0), 15.0, "every doorbell is acked")


async def test_those_that_cannot_be_claimed_do_not_keep_the_others(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    ids = await given.waiting(pool, 256, type="test.work")
    await given.change(pool, ids[::2], "status = 'cancelled', completed_at = now()")
    rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks")
    await Ringer(bus, subjects.IDS_LIMIT).ring_confirmed([tuple(row) for row in rows])
    await start("worker", app="support.handlers:app", concurrency=10)
    await until(lambda: pool.fetchval(f"SELECT ({DONE}) = 128"), 10.0)
    await until(lambda: stream.holds(bus, 0), 5.0)


async def test_a_pause_keeps_the_rest_in_its_lane(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    await start("worker", app="support.handlers:app", concurrency=5)
    await until(lambda: stream.asked(bus, "default"))
    await rung_together(pool, bus, 256, type="test.work", payload='{"seconds": 0.1}')
    await until(lambda: pool.fetchval(f"SELECT ({RUNNING}) > 0"))
    await queues.pause(pool, "default", paused=True)
    await bus.publish(subjects.CONTROL_ALL, subjects.RELOAD_PAUSES)
    await until(lambda: pool.fetchval(f"SELECT ({RUNNING}) = 0"), 10.0)
    await until(lambda: stream.unasked(bus, "default"), 10.0)
    done = await pool.fetchval(DONE)
    assert done < 256
    await queues.pause(pool, "default", paused=False)
    await bus.publish(subjects.CONTROL_ALL, subjects.RELOAD_PAUSES)
    await until(lambda: pool.fetchval(f"SELECT ({DONE}) = 256"), 30.0)


@pytest.mark.parametrize("ids", [1, subjects.IDS_LIMIT])
async def test_doorbells_carry_what_every_live_worker_can_read(pool: Pool, bus: Bus, start: Services, lanes: None, settings: FleetSettings, ids: int) -> None:
    """A worker of an older Waggle says nothing, and reads one task from a doorbell."""
    await given.alive(pool)
    await pool.execute("UPDATE waggle.workers SET doorbell_ids = $1", ids)
    made = await given.waiting(pool, 1_000, ring=False, run_at=None)
    assert len(made) == 1_000
    await start("scheduler")
    await until(lambda: stream.tasks_rung(bus), 10.0)
    await until(lambda: _all_rung(bus), 10.0)
    assert (await stream.doorbells(bus) == 1_000) == (ids == 1)


async def _all_rung(bus: Bus) -> bool:
    return await stream.tasks_rung(bus) == 1_000


async def test_while_postgres_does_not_say_what_workers_read_a_doorbell_carries_one_task(pool: Pool, bus: Bus, own_postgres: PostgresServer) -> None:
    ringer, stopping = Ringer(bus), asyncio.Event()
    async with loop(doorbell_sizes.keep(pool, ringer, stopping)):
        await until(lambda: ringer.ids_at_most == subjects.IDS_LIMIT)
        own_postgres.kill()
        await until(lambda: ringer.ids_at_most == 1, 10.0)
        own_postgres.start()
        await until(lambda: ringer.ids_at_most == subjects.IDS_LIMIT, 20.0)
