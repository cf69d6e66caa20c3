"""Pauses at awkward moments: with doorbells in a worker's hands, before a worker starts, while NATS is away. Each test has workers of its own."""

from pathlib import Path

import asyncpg
import pytest

from support import given, stream
from support.facts import never, until
from support.processes import Process
from support.rest import at_rest
from support.servers import NatsServer
from support.system import Services
from waggle.bus.connection import Bus
from waggle.bus.pull import Pull
from waggle.store import queues
from waggle.task import Priority

Pool = asyncpg.Pool
HELD_AT_MOST = 5.0  # seconds that a worker keeps a doorbell without a slot


@pytest.fixture(autouse=True)
async def scheduler(start: Services) -> None:
    await start("scheduler")


async def worker(start: Services, effects: Path, concurrency: int = 10) -> Process:
    return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=concurrency)


async def elsewhere(pool: Pool) -> None:
    """A task of another queue runs."""
    [other] = await given.waiting(pool, ring=False, type="test.typed", queue="typed", payload='{"to": "a"}')
    assert (await at_rest(pool, other))["status"] == "completed"


async def test_held_doorbells_go_back_at_once_and_are_not_passed_round(pool: Pool, bus: Bus, start: Services, effects: Path) -> None:
    for _ in range(2):
        await worker(start, effects, concurrency=1)
    await until(lambda: stream.asked(bus, "default", 2))
    for priority in Priority:
        await given.waiting(pool, 5, ring=False, priority=priority, type="test.work", payload='{"seconds": 60}')
    await until(lambda: _holding(bus))
    await queues.pause(pool, "default", paused=True)
    await until(lambda: stream.unasked(bus, "default"))
    before = await stream.delivered(bus, "default")

    async def delivered_more() -> bool:
        return await stream.delivered(bus, "default") > before

    await never(delivered_more, 1.0, "a doorbell of a paused lane is delivered")
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'running'") == 2
    others = [Pull(bus, "default", priority, lambda: None) for priority in Priority]
    for other in others:
        await other.open()
        await other.top_up(100)
    await until(lambda: sum(len(pull.buffer) for pull in others) == 18, HELD_AT_MOST - 2.0, "what was held is there for others")


async def _holding(bus: Bus) -> bool:
    """Somebody holds doorbells of all lanes but one, and the two slots are taken."""
    return await stream.delivered(bus, "default") >= 8


async def test_a_fresh_worker_asks_for_nothing_of_a_paused_queue(pool: Pool, bus: Bus, start: Services, effects: Path) -> None:
    await queues.pause(pool, "default", paused=True)
    await given.waiting(pool, 5, ring=False, type="test.work")
    await until(lambda: stream.holds(bus, 5))
    await worker(start, effects)
    await elsewhere(pool)
    assert await stream.delivered(bus, "default") == 0


async def test_a_pause_while_nats_is_away_holds_when_it_comes_back(pool: Pool, bus: Bus, nats: NatsServer, start: Services, effects: Path) -> None:
    process = await worker(start, effects)
    await until(lambda: stream.asked(bus, "default"))
    generation = bus.generation
    nats.kill()
    await queues.pause(pool, "default", paused=True)
    await until(lambda: process.logged("queue paused"))
    nats.start()
    await until(lambda: bus.connected and bus.generation > generation)
    waiting = await given.waiting(pool, 5, ring=False, type="test.work")
    await until(lambda: stream.holds(bus, 5))
    await elsewhere(pool)
    assert effects.read_text() == ""
    await queues.pause(pool, "default", paused=False)
    for task_id in waiting:
        await at_rest(pool, task_id)
