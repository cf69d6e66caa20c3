"""A pending or running task fails at its deadline; its worker gets a stop message, and the end is published."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
import structlog.testing
from nats.aio.msg import Msg

from support import given
from support.facts import until
from support.loops import loop
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle_scheduler import deadlines

Pool = asyncpg.Pool


@pytest.fixture
async def told(bus: Bus) -> list[UUID]:
    """The tasks whose end was published."""
    found: list[UUID] = []

    async def hear(message: Msg) -> None:
        found.extend(subjects.read_settled(message.data))

    await bus.subscribe(subjects.SETTLED, hear)
    return found


async def test_the_workers_of_running_tasks_are_told_to_stop_these_attempts(pool: Pool, bus: Bus, told: list[UUID]) -> None:
    stopped: dict[str, list[tuple[UUID, int]]] = {"w1": [], "w2": []}

    async def listen(worker_id: str) -> None:
        async def hear(message: Msg) -> None:
            stopped[worker_id] += subjects.read_control_message(message.data).stop

        await bus.subscribe(subjects.control(worker_id), hear)

    ids: dict[str, list[UUID]] = {}
    for worker_id in stopped:
        await listen(worker_id)
        await given.alive(pool, worker_id)
        ids[worker_id] = [task.id for task in await given.running(pool, 2, worker_id)]
    waits = await given.waiting(pool, 2)
    everything = [*ids["w1"], *ids["w2"], *waits]
    await given.change(pool, everything, "deadline = now()")
    async with loop(deadlines.fail_overdue(pool, bus, asyncio.Event())):
        await until(lambda: len(told) == 6)
        await until(lambda: all(len(attempts) == 2 for attempts in stopped.values()))
    assert sorted(told) == sorted(everything)
    assert {worker_id: sorted(attempts) for worker_id, attempts in stopped.items()} == {
        worker_id: sorted((task_id, 1) for task_id in mine) for worker_id, mine in ids.items()
    }


async def test_a_task_fails_soon_after_its_deadline(pool: Pool, bus: Bus) -> None:
    (task_id,) = await given.waiting(pool)
    await given.change(pool, task_id, "deadline = now() + interval '0.2 s'")
    with structlog.testing.capture_logs() as lines:
        async with loop(deadlines.fail_overdue(pool, bus, asyncio.Event())):
            await until(lambda: lines)
    late = await pool.fetchval("SELECT extract(epoch FROM completed_at - deadline)::float8 FROM waggle.tasks")
    assert 0 <= late < 2
    assert (lines[0]["task_id"], lines[0]["was"]) == (str(task_id), "pending")


async def test_a_task_that_waits_for_a_time_after_its_deadline_fails_without_ever_being_rung(pool: Pool, bus: Bus) -> None:
    (task_id,) = await given.waiting(pool, delay=3600.0)
    await given.change(pool, task_id, "deadline = now()")
    async with loop(deadlines.fail_overdue(pool, bus, asyncio.Event())):
        await until(lambda: pool.fetchval("SELECT status = 'failed' FROM waggle.tasks"))
    assert (await given.row(pool, task_id))["rung_at"] is None


async def test_more_than_fits_a_batch_fail_without_a_pause(pool: Pool, bus: Bus, told: list[UUID]) -> None:
    ids = await given.waiting(pool, 2500)
    await given.change(pool, ids, "deadline = now()")
    async with loop(deadlines.fail_overdue(pool, bus, asyncio.Event())):
        await until(lambda: len(told) == 2500, 5)
