"""A standby is promoted, behind an address that moves to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.proxy import Proxy, proxy
from support.scale import figures
from support.servers import NatsServer, PostgresServer
from support.standby import Standby, standby
from support.system import Services, client_of
from waggle.store import postgres as store

Pool = asyncpg.Pool

LEASE = 1.0
AWAY = 3 * LEASE
TASKS = 40
BOUND = 15.0  # seconds from the promotion until everything has ended


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
