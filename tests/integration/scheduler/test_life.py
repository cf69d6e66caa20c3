"""The scheduler keeps the topology, waits for missing servers, recovers by itself, and stops on a signal."""

import asyncio

import asyncpg
import httpx2
import pytest

from support import given, stream
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.processes import ready
from support.servers import NatsServer, PostgresServer
from support.system import Services
from support.unchecked import unchecked
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.store import catalogue
from waggle_scheduler import topology
from waggle_scheduler.waiting_lanes import WaitingLanes

Pool = asyncpg.Pool


async def metric(url: str, name: str) -> float:
    async with httpx2.AsyncClient(trust_env=False) as http:
        text = (await http.get(url)).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))


async def test_it_makes_the_topology_and_the_lanes_of_queues_that_appear(
    pool: Pool, bus: Bus, settings: FleetSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "TOPOLOGY_CHECK_SECONDS", 0.1)
    async with loop(topology.keep(pool, bus, settings, WaitingLanes(), asyncio.Event(), asyncio.Event())):
        await until(lambda: _has_lanes(bus, "default"))
        await catalogue.announce(pool, [catalogue.TaskType("a.b", "mail", 3, 10.0, True, "{}")], ["mail"])
        await until(lambda: _has_lanes(bus, "mail"))
        await given.waiting(pool, 1, queue="unannounced")
        await until(lambda: _has_lanes(bus, "unannounced"))


async def _has_lanes(bus: Bus, queue: str) -> bool:
    return {subjects.consumer(queue, priority) for priority in range(4)} <= await stream.consumers(bus)


async def test_two_that_start_at_once_make_one_topology_without_a_complaint(bus: Bus, start: Services) -> None:
    both = [start.launch("scheduler") for _ in range(3)]
    await ready(*both)
    assert len(await stream.consumers(bus)) == 4
    assert [line for scheduler in both for line in scheduler.lines() if line["level"] != "info"] == []


async def test_a_wiped_store_gets_its_topology_again_at_once(bus: Bus, nats: NatsServer, start: Services) -> None:
    await start("scheduler")
    generation = bus.generation
    nats.wipe()
    await until(lambda: bus.connected and bus.generation > generation)
    await until(lambda: _has_lanes(bus, "default"), 5)


async def test_without_nats_it_starts_all_the_same(nats: NatsServer, bus: Bus, pool: Pool, start: Services) -> None:
    nats.kill()
    (task_id,) = await given.waiting(pool)
    await given.change(pool, task_id, "deadline = now()")
    await start("scheduler")
    await until(lambda: pool.fetchval("SELECT status = 'failed' FROM waggle.tasks"))
    nats.start()
    await until(lambda: bus.connected)
    await until(lambda: _has_lanes(bus, "default"))


async def test_without_postgres_it_waits_and_can_be_stopped(own_postgres: PostgresServer, start: Services) -> None:
    own_postgres.kill()
    scheduler = start.launch("scheduler")
    await until(lambda: scheduler.logged("waiting for Postgres"))
    assert not scheduler.ready()
    assert await scheduler.stop(5) == 0


async def test_it_waits_for_the_migration(pool: Pool, start: Services) -> None:
    head = await pool.fetchval("SELECT version_num FROM waggle.alembic_version")
    await pool.execute("UPDATE waggle.alembic_version SET version_num = '0000'")
    scheduler = start.launch("scheduler")
    (line,) = await until(lambda: scheduler.logged("waiting for Postgres"))
    assert "waggle migrate" in line["reason"]
    await pool.execute("UPDATE waggle.alembic_version SET version_num = $1", head)
    await ready(scheduler)


async def test_it_goes_on_after_postgres_was_killed_and_started_again(own_postgres: PostgresServer, pool: Pool, bus: Bus, start: Services) -> None:
    scheduler = await start("scheduler")
    own_postgres.kill()
    await until(lambda: scheduler.logged("outage, waiting", loop="reclaim"))
    own_postgres.start()

    async def insert() -> bool:
        try:
            return bool(await given.waiting(pool, 1, ring=False, delay=0.1))
        except (OSError, asyncpg.PostgresError):
            return False

    await until(insert)
    await until(lambda: _holds(bus, 1))
    assert scheduler.alive


async def _holds(bus: Bus, count: int) -> bool:
    return await stream.doorbells(bus) >= count


async def test_it_stops_gracefully_and_takes_its_ready_file_with_it(start: Services) -> None:
    scheduler = await start("scheduler")
    assert scheduler.ready_file.exists()
    assert await scheduler.stop(5) == 0
    assert not scheduler.ready_file.exists()
    assert scheduler.logged("stopped")


async def test_a_queue_name_that_no_subject_can_hold_stops_nothing(pool: Pool, bus: Bus, start: Services) -> None:
    """The API and the database refuse such a name; a task inserted by SQL before can have it."""
    names = ["two words", "dots.in.it", "*", ">", "new\nline", "", "x" * 33, "Mail"]
    async with unchecked(pool):
        for queue in names:
            (lost,) = await given.waiting(pool, 1, queue=queue)
            await given.change(pool, [lost], "rung_at = now() - interval '60 s'")
            await given.waiting(pool, 1, ring=False, queue=queue, delay=0.1)
    scheduler = await start("scheduler")
    for queue in names:
        await until(lambda queue=queue: scheduler.logged("queue name not usable, its tasks wait", queue=queue))
    async with pool.acquire() as connection, connection.transaction():  # at once: a look in between would have found the lane in order up to now
        (good,) = await given.waiting(connection, 1, queue="default")
        await given.change(connection, [good], "rung_at = now() - interval '60 s'")
    await until(lambda: _holds(bus, 1))
    assert scheduler.alive


async def test_its_metrics_tell_what_it_did(pool: Pool, start: Services) -> None:
    scheduler = await start("scheduler")
    await given.waiting(pool, 7, ring=False, queue="default")
    await until(lambda: pool.fetchval("SELECT count(*) = 7 FROM waggle.tasks WHERE rung_at IS NOT NULL"))
    assert await until(lambda: metric(scheduler.metrics_url, "waggle_doorbells_rung_total")) == 7
    ids = await given.waiting(pool, 3)
    await given.change(pool, ids, "deadline = now()")
    assert await until(lambda: metric(scheduler.metrics_url, "waggle_tasks_overdue_total")) == 3


async def test_wrong_settings_end_it_at_once_with_exit_code_2(start: Services) -> None:
    scheduler = start.launch("scheduler", environ={"WAGGLE_LEESE": "3"})
    assert await scheduler.ended(10) == 2
    assert "WAGGLE_LEESE is not a setting; did you mean WAGGLE_LEASE?" in scheduler.tail()
