"""A primary that takes no writes any more, while its connections stay open and new ones lead to the new primary."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.one_api import announce
from support.proxy import Proxy, proxy
from support.servers import NatsServer, PostgresServer
from support.standby import Standby, standby
from support.system import Client, Services, client_of, ok

WORK = {"type": "test.work"}


@pytest.fixture
def other(own_postgres: PostgresServer, folder: Path) -> Iterator[Standby]:
    with standby(own_postgres, folder / "standby") as made:
        yield made


@pytest.fixture
async def link(own_postgres: PostgresServer) -> AsyncIterator[Proxy]:
    """The address of the primary: open connections stay where they are when it moves."""
    async with proxy(own_postgres.port) as made:
        yield made


@pytest.fixture
def settings(own_postgres: PostgresServer, other: Standby, link: Proxy, nats: NatsServer) -> FleetSettings:
    assert other.url  # it must outlive the services
    return FleetSettings(postgres_url=link.url(own_postgres.url), nats_url=nats.url, api_port=0, lease=2.0, grace=2.0)


@pytest.fixture
async def api(start: Services, own_postgres: PostgresServer, other: Standby, link: Proxy, pool: asyncpg.Pool) -> AsyncIterator[Client]:
    """An API with several open connections to a server that takes no writes; new ones lead to the new primary."""
    await announce(pool)
    async with client_of(await start("api")) as client:
        for _ in range(3):
            await client.submit("test.work")
        assert (await client.get("/health")).json()["status"] == "ok"
        await other.caught_up(own_postgres.url)
        other.promote()
        await pool.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await pool.execute("SELECT pg_reload_conf()")
        await until(lambda: pool.fetchval("SELECT current_setting('transaction_read_only') = 'on'"))
        link.move(other.port)
        yield client


async def test_who_writes_is_refused_a_few_times_only(api: Client) -> None:
    answers = []

    async def accepted() -> bool:
        answers.append((await api.post("/api/tasks", json=WORK)).status_code)
        return answers[-1] == 201

    await until(accepted, 5.0)
    assert set(answers) <= {201, 503}
    assert len(answers) <= 5, answers
    for _ in range(5):
        await api.submit("test.work")


async def test_health_says_so_and_leads_to_new_connections(api: Client) -> None:
    async def unready() -> bool:
        return (await api.get("/readyz")).status_code == 503

    await until(unready, 5.0)
    await until(lambda: well(api), 5.0)
    ok(await api.post("/api/tasks", json=WORK), 201)


async def well(api: Client) -> bool:
    return (await api.get("/health")).json()["status"] == "ok"
