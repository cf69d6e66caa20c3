"""Whoever writes a task that is due in a moment, without a doorbell, tells the schedulers; nobody else does."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from support import given
from support.facts import until
from support.system import Client, Services, client_of
from waggle.bus import due, subjects
from waggle.bus.connection import Bus

Pool = asyncpg.Pool


class Announced:
    """How often schedulers were told so far."""

    count = 0

    async def heard(self, _: object) -> None:
        self.count += 1


@pytest.fixture
async def announced(bus: Bus) -> Announced:
    told = Announced()
    await bus.subscribe(subjects.DUE, told.heard)
    return told


async def now(bus: Bus, announced: Announced) -> int:
    """How often they were told up to now: a message that is sent here arrives after those that came before."""
    before = announced.count
    await due.announce(bus)
    await until(lambda: announced.count > before)
    return announced.count - 1


@pytest.fixture
async def client(start: Services, lanes: None) -> AsyncIterator[Client]:
    async with client_of(await start("api", unknown_types="accept")) as made:
        yield made


async def test_the_api_says_so_of_tasks_that_are_due_in_a_moment(client: Client, bus: Bus, announced: Announced) -> None:
    await client.submit(type="demo.echo")
    await client.submit(type="demo.echo", delay=60)
    await client.submit(type="demo.echo", run_at="2100-01-01T00:00:00Z")
    assert await now(bus, announced) == 0
    await client.submit(type="demo.echo", delay=0.2)
    await until(lambda: announced.count > 1)


async def test_a_worker_says_so_of_a_retry_that_is_due_at_once(client: Client, bus: Bus, announced: Announced, start: Services) -> None:
    await start("worker", app="support.handlers:app")
    tasks = [await client.submit(type="demo.echo") for _ in range(3)]
    for task in tasks:
        await client.wait(task)
    assert await now(bus, announced) == 0
    await client.submit(type="test.snooze", payload={})
    await until(lambda: announced.count > 1)


async def test_the_dlq_service_says_so_of_a_dead_letter_that_runs_again(client: Client, announced: Announced, start: Services, pool: Pool) -> None:
    await start("dlq")
    [task] = await given.waiting(pool, type="demo.echo")
    await given.change(pool, task, "status = 'dead_letter', attempt = 1, worker_id = 'w', started_at = now(), error = '{}'")
    assert (await client.post(f"/api/dlq/{task}/retry")).status_code == 200
    await until(lambda: announced.count > 0)


def test_what_is_due_later_is_left_to_the_schedulers_own_look() -> None:
    assert due.LOOK_SECONDS <= 0.5, "so late is a task whose message was lost, or that came by SQL"
