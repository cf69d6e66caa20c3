"""A paused queue: its workers stop pulling it, what comes waits, nothing is lost, and other queues do not notice. One system for all tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from support import given, stream
from support.facts import until
from support.one_system import OneSystem, one_system
from support.rest import at_rest
from support.servers import PostgresServer
from support.system import Client, client_of, ok
from waggle.bus import connection, subjects
from waggle.bus.connection import Bus
from waggle.store import postgres as store

Pool = asyncpg.Pool


@pytest.fixture(scope="module")
def system(postgres: PostgresServer, session_folder: Path) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-pause") as running:
        yield running


@pytest.fixture
async def pool(system: OneSystem) -> AsyncIterator[Pool]:
    async with store.pool(system.settings, "test", 3) as made:
        yield made


@pytest.fixture
async def bus(system: OneSystem) -> AsyncIterator[Bus]:
    """A connection to its NATS, once the worker asks for doorbells of the queue `default`."""
    async with connection.connection(system.settings, "test") as opened:
        await until(lambda: opened.connected)
        await until(lambda: stream.asked(opened, "default"))
        yield opened


@pytest.fixture
async def api(system: OneSystem) -> AsyncIterator[Client]:
    async with client_of(system.api) as client:
        yield client


async def pause(api: Client, bus: Bus) -> None:
    assert ok(await api.post("/api/queues/default/pause"))["paused"] is True
    await until(lambda: stream.unasked(bus, "default"))


async def resume(api: Client) -> None:
    assert ok(await api.post("/api/queues/default/resume"))["paused"] is False


async def rung(pool: Pool, ids: list[UUID]) -> bool:
    """Whether these tasks wait, and their doorbells were rung."""
    return bool(await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE id = ANY ($1) AND status = 'pending' AND rung_at IS NOT NULL", ids) == len(ids))


async def elsewhere(pool: Pool) -> None:
    """A task of another queue runs."""
    [other] = await given.waiting(pool, ring=False, type="test.typed", queue="typed", payload='{"to": "a"}')
    assert (await at_rest(pool, other))["status"] == "completed"


async def test_a_paused_queue_waits_while_another_one_works_and_goes_on_when_it_is_resumed(pool: Pool, bus: Bus, api: Client, system: OneSystem) -> None:
    await pause(api, bus)
    waiting = await given.waiting(pool, 20, ring=False, type="test.work")
    await until(lambda: rung(pool, waiting), what="due tasks of a paused queue are rung all the same, and wait in their lane")
    await until(lambda: stream.holds(bus, 20))
    await elsewhere(pool)
    assert not any(system.did("began", task_id) for task_id in waiting)
    await resume(api)
    for task_id in waiting:
        assert (await at_rest(pool, task_id))["outcomes"] == ["completed"]


async def test_a_lost_hint_costs_no_more_than_a_look(pool: Pool, bus: Bus, system: OneSystem) -> None:
    before = len(system.worker.logged("queue paused", queue="default"))
    await pool.execute("UPDATE waggle.queues SET paused = true WHERE name = 'default'")
    await until(lambda: stream.unasked(bus, "default"))
    assert len(system.worker.logged("queue paused", queue="default")) == before + 1
    [task_id] = await given.waiting(pool, ring=False, type="test.work")
    await until(lambda: rung(pool, [task_id]))
    await elsewhere(pool)
    assert (await given.row(pool, task_id))["status"] == "pending"
    await pool.execute("UPDATE waggle.queues SET paused = false WHERE name = 'default'")
    await at_rest(pool, task_id)


async def test_what_runs_when_its_queue_is_paused_goes_on(pool: Pool, bus: Bus, api: Client, system: OneSystem) -> None:
    [task_id] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 0.5}')
    await until(lambda: system.did("began", task_id))
    await pause(api, bus)
    assert (await at_rest(pool, task_id))["outcomes"] == ["completed"]
    await resume(api)


async def test_a_paused_queue_still_takes_tasks(api: Client, bus: Bus) -> None:
    await pause(api, bus)
    task = await api.submit("test.work")
    assert ok(await api.get(f"/api/tasks/{task['id']}", params={"wait": 0.2}))["status"] == "pending"
    await resume(api)
    assert (await api.wait(task))["status"] == "completed"


async def carries(bus: Bus, count: int) -> bool:
    return await stream.tasks_rung(bus) == count


async def test_doorbells_of_purged_tasks_are_cleared_away_when_the_queue_is_resumed(pool: Pool, bus: Bus, api: Client, system: OneSystem) -> None:
    await pause(api, bus)
    waiting = await given.waiting(pool, 300, ring=False, type="test.work")
    await until(lambda: carries(bus, 300))
    assert ok(await api.post("/api/queues/default/purge")) == {"cancelled": 300}
    await resume(api)
    await until(lambda: stream.holds(bus, 0))
    assert not any(system.did("began", task_id) for task_id in waiting[:10])


async def test_commands_of_a_newer_version_do_not_disturb_a_worker(pool: Pool, bus: Bus, system: OneSystem) -> None:
    for command in (b'{"later": {"than": "us"}, "look": true}', b"{", b'{"look": "yes"}'):
        await bus.publish(subjects.CONTROL_ALL, command)
    await until(lambda: len(system.worker.logged("malformed control message ignored")) == 2)
    [task_id] = await given.waiting(pool, ring=False, type="test.work")
    assert (await at_rest(pool, task_id))["status"] == "completed"
