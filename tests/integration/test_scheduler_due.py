"""A due task is rung when its time comes, once, however many schedulers there are, and only while somebody can hear it."""

import asyncio
import statistics

import asyncpg
import pytest
from support import given, stream
from support.facts import never, until
from support.loops import loop
from support.servers import NatsServer
from support.system import Services
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle_scheduler import due

Pool = asyncpg.Pool


async def rung(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM tasks WHERE rung_at IS NOT NULL"))


async def all_rung(pool: Pool) -> bool:
    return not await pool.fetchval("SELECT EXISTS (SELECT FROM tasks WHERE rung_at IS NULL)")


async def test_tasks_are_rung_when_their_time_comes(pool: Pool, bus: Bus, start: Services) -> None:
    await start("scheduler")
    for n in range(100):
        await given.waiting(pool, 1, ring=False, delay=0.2 + n * 0.013)
    await until(lambda: all_rung(pool))
    await until(lambda: _holds(bus, 100))
    late = sorted(row[0] for row in await pool.fetch("SELECT extract(epoch FROM rung_at - run_at)::float8 FROM tasks"))
    assert late[0] >= 0
    assert statistics.median(late) < 0.05
    assert late[-1] < 1.0


async def _holds(bus: Bus, count: int) -> bool:
    return await stream.doorbells(bus) == count


async def test_a_task_that_nobody_rang_is_rung_at_once(pool: Pool, bus: Bus, start: Services) -> None:
    """A row inserted by SQL, or by somebody who could not ring."""
    await start("scheduler")
    await pool.execute("INSERT INTO tasks (id, type) VALUES (gen_random_uuid(), 'demo.echo')")
    await pool.execute("NOTIFY waggle_wake")
    await until(lambda: _holds(bus, 1), 2)


@pytest.mark.usefixtures("lanes")
async def test_a_task_that_came_without_a_wake_is_found_all_the_same(pool: Pool, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "LONGEST", 0.3)
    async with loop(due.ring(pool, bus, Ringer(bus), asyncio.Event(), asyncio.Event())):
        await pool.execute("INSERT INTO tasks (id, type) VALUES (gen_random_uuid(), 'demo.echo')")
        await until(lambda: _holds(bus, 1), 2)


async def test_more_than_fits_a_batch_is_rung_without_a_pause(pool: Pool, bus: Bus, start: Services) -> None:
    await given.waiting(pool, 3500, ring=False)
    await start("scheduler")
    await until(lambda: _holds(bus, 3500), 5)


async def test_two_schedulers_ring_each_due_task_once(pool: Pool, bus: Bus, start: Services) -> None:
    one, other = await start("scheduler"), await start("scheduler")
    for _ in range(20):
        await given.waiting(pool, 50, ring=False, delay=0.3)
    await until(lambda: all_rung(pool))
    await until(lambda: _holds(bus, 1000))
    assert one.alive
    assert other.alive


async def test_while_nats_is_away_nothing_is_marked_and_afterwards_all_is_rung(pool: Pool, bus: Bus, nats: NatsServer, start: Services) -> None:
    scheduler = await start("scheduler")
    nats.kill()
    await until(lambda: scheduler.logged("NATS disconnected, reconnecting"))
    await given.waiting(pool, 10, ring=False)
    await never(lambda: rung(pool), 0.5)
    nats.start()
    await until(lambda: bus.connected)
    await until(lambda: _holds(bus, 10))


async def test_a_scheduler_that_lost_its_listening_connection_listens_again(pool: Pool, bus: Bus, start: Services) -> None:
    await start("scheduler")
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'"
    before = await pool.fetchval("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    assert before is not None
    await pool.execute(ended)
    await until(lambda: pool.fetchval("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> $1", before))
    await given.waiting(pool, 1, ring=False)
    await until(lambda: _holds(bus, 1), 2)
