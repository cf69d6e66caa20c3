"""A standby is promoted, behind an address that moves to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from nats.aio.msg import Msg

from support.facts import until
from support.fleet import FleetSettings
from support.loops import again_and_again
from support.proxy import Proxy, proxy
from support.scale import figures
from support.servers import NatsServer, PostgresServer
from support.standby import Standby, standby
from support.system import Services, client_of
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.store import postgres as store

Pool = asyncpg.Pool

LEASE = 2.0
AWAY = 3 * LEASE
TASKS = 40
BOUND = 4 * LEASE + 11.0  # seconds from the promotion until everything has ended; handlers run on for four leases
AFTER_NEWS = 1.0  # seconds in which the API may still accept a task into the old primary


@pytest.fixture
def other(own_postgres: PostgresServer, folder: Path) -> Iterator[Standby]:
    with standby(own_postgres, folder / "standby") as made:
        yield made


@pytest.fixture
async def link(own_postgres: PostgresServer) -> AsyncIterator[Proxy]:
    """The address of the primary."""
    async with proxy(own_postgres.port) as made:
        yield made


@pytest.fixture
def settings(own_postgres: PostgresServer, other: Standby, link: Proxy, nats: NatsServer) -> FleetSettings:
    assert other.url  # it must outlive the services
    return FleetSettings(postgres_url=link.url(own_postgres.url), nats_url=nats.url, api_port=0, lease=LEASE, grace=2.0)


@pytest.fixture
async def there(other: Standby) -> AsyncIterator[Pool]:
    """The database on the standby."""
    async with store.pool(FleetSettings(postgres_url=other.url, nats_url="nats://not.used"), "test", 2) as made:
        yield made


async def test_no_running_task_is_charged_when_that_takes_longer_than_a_lease(
    own_postgres: PostgresServer, other: Standby, link: Proxy, there: Pool, start: Services, effects: Path
) -> None:
    """The postmaster of the standby has run all the time: only the moment of the promotion excuses the workers."""
    api = await start("api")
    await start("scheduler")
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=TASKS)
    async with client_of(api) as client:
        task = {"type": "test.work", "payload": {"seconds": AWAY + 4 * LEASE}, "max_retries": 0}
        await client.submit_many([task] * TASKS)
        await until(lambda: effects.read_text().count("began") == TASKS)
        await other.caught_up(own_postgres.url)
        own_postgres.kill()
        await asyncio.sleep(AWAY)  # the fault itself
        link.move(other.port)
        await asyncio.to_thread(other.promote)
        since = time.monotonic()
        await until(lambda: _completed(there), BOUND)
    assert await there.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count + lost_count > 0") == 0
    assert await there.fetchval("SELECT count(*) FROM waggle.task_attempts") == TASKS
    assert worker.logged("lease expired") == []
    figures("a failover takes longer than a lease", tasks=TASKS, away=f"{AWAY:g} s", charged=0, all_ended_after=f"{time.monotonic() - since:.1f} s")


async def _completed(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'completed'", TASKS))


async def test_no_service_goes_on_with_an_old_primary_that_lives_on(
    own_postgres: PostgresServer, other: Standby, link: Proxy, there: Pool, bus: Bus, start: Services, effects: Path
) -> None:
    """The old primary stays up, the connections to it stay open, and only the address moves. Whoever connects next tells the others."""
    api = await start("api")
    await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    news = asyncio.Event()

    async def hear(message: Msg) -> None:
        if subjects.read_primary_message(message.data).timeline == 2:
            news.set()

    await bus.subscribe(subjects.PRIMARY, hear)
    answers: list[tuple[float, int, str]] = []

    async def submit() -> None:
        answer = await client.post("/api/tasks", json={"type": "test.work"})
        answers.append((time.monotonic(), answer.status_code, answer.json().get("id", "")))

    async with client_of(api) as client, again_and_again(submit, 0.01):
        await until(lambda: len(answers) > 20)
        await other.caught_up(own_postgres.url)
        await asyncio.to_thread(other.promote)
        link.move(other.port)
        moved = time.monotonic()
        await start("dlq")  # its connections are new
        await until(news.is_set, 5)
        told = time.monotonic()
        await until(lambda: answers[-1][1] == 201 and answers[-1][0] > told + AFTER_NEWS, 10, "tasks are accepted again")
    accepted = {task: at for at, status, task in answers if status == 201}
    present = {str(row["id"]) for row in await there.fetch("SELECT id FROM waggle.tasks")}
    late = [accepted[lost] - told for lost in accepted.keys() - present if accepted[lost] > moved]
    assert all(after < AFTER_NEWS for after in late), f"accepted by the old primary {max(late):.2f} s after the news"
    (line, *_) = await until(lambda: api.logged("connections to an old primary dropped"))
    assert line["old"].endswith("/1")
    assert line["newer"].endswith("/2")
    figures("an old primary lives on", accepted=len(accepted), by_the_old_one=len(late), after_the_news=f"{max([0.0, *late]):.2f} s")
    await until(lambda: _all_completed(there), BOUND)


async def _all_completed(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE status <> 'completed'"))
