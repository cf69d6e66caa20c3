"""Several servers in the address of Postgres: the one that takes writes is used, whichever it is, and a silent one holds nobody up for long."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.servers import PostgresServer
from support.standby import Standby, standby
from waggle.settings.shared import SettingsError
from waggle.store import postgres as store
from waggle.store.connections import NoPrimary
from waggle.store.hosts import HOST_SECONDS
from waggle.store.primary import PrimaryGate


@pytest.fixture
def other(own_postgres: PostgresServer, folder: Path) -> Iterator[Standby]:
    with standby(own_postgres, folder / "standby") as made:
        yield made


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def address(own_postgres: PostgresServer, *ports: int, parameters: str = "") -> str:
    before, _, database = own_postgres.url.rpartition("@")[2].rpartition("/")
    assert before == f"127.0.0.1:{own_postgres.port}"
    who = own_postgres.url.rpartition("@")[0]
    return f"{who}@{','.join(f'127.0.0.1:{port}' for port in ports)}/{database}{parameters}"


def settings(url: str) -> FleetSettings:
    return FleetSettings(postgres_url=url, nats_url="nats://not.used")


async def port_of(url: str) -> int:
    connection = await store.connect(settings(url), "test")
    try:
        return int(await connection.fetchval("SELECT inet_server_port()"))
    finally:
        await connection.close()


async def test_a_standby_that_is_named_first_is_passed_over(own_postgres: PostgresServer, other: Standby) -> None:
    for parameters in ("", "?target_session_attrs=read-write", "?target_session_attrs=primary&load_balance_hosts=random"):
        assert await port_of(address(own_postgres, other.port, own_postgres.port, parameters=parameters)) == own_postgres.port


async def test_an_old_primary_that_lives_on_is_passed_over(own_postgres: PostgresServer, other: Standby) -> None:
    """Both take writes. Who has seen the newer one goes there, also when the older one is named first."""
    await other.caught_up(own_postgres.url)
    await asyncio.to_thread(other.promote)
    gate = PrimaryGate()
    for ports in ((other.port, own_postgres.port), (own_postgres.port, other.port)):
        connection = await store.connect(settings(address(own_postgres, *ports)), "test", gate=gate)
        assert await connection.fetchval("SELECT inet_server_port()") == other.port
        await connection.close()


async def test_a_server_that_never_answers_costs_its_own_time_only(own_postgres: PostgresServer, deaf: int) -> None:
    since = time.monotonic()
    assert await port_of(address(own_postgres, deaf, own_postgres.port)) == own_postgres.port
    assert time.monotonic() - since < HOST_SECONDS + 2.0
    since = time.monotonic()
    assert await port_of(address(own_postgres, deaf, own_postgres.port, parameters="?connect_timeout=1")) == own_postgres.port
    assert time.monotonic() - since < 3.0


async def test_a_pool_follows_the_primary_and_tries_a_silent_server_last(own_postgres: PostgresServer, other: Standby) -> None:
    """The first server stands still, as after SIGSTOP: it accepts connections and answers nothing."""
    async with store.pool(settings(address(own_postgres, own_postgres.port, other.port)), "test", 3) as pool:
        assert await pool.fetchval("SELECT inet_server_port()") == own_postgres.port
        await other.caught_up(own_postgres.url)
        own_postgres.freeze()
        try:
            await asyncio.to_thread(other.promote)

            async def moved() -> bool:
                try:
                    return bool(await pool.fetchval("SELECT inet_server_port()", timeout=2.0) == other.port)
                except (OSError, TimeoutError, asyncpg.PostgresConnectionError):
                    return False

            await until(moved, 15.0, "the pool works with the new primary")
            since = time.monotonic()
            await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.1)") for _ in range(3)))
            assert time.monotonic() - since < HOST_SECONDS, "the silent server is tried last"
        finally:
            own_postgres.thaw()


async def test_without_a_primary_each_server_is_named_with_its_problem(own_postgres: PostgresServer, other: Standby) -> None:
    url = address(own_postgres, other.port, 1)
    with pytest.raises(NoPrimary, match=rf"no primary: 127\.0\.0\.1:{other.port}: it is a standby; 127\.0\.0\.1:1: connection refused$"):
        await port_of(url)


async def test_a_primary_that_becomes_a_standby_loses_its_connections(own_postgres: PostgresServer) -> None:
    """A managed failover may leave the connection open on a server that takes no writes any more."""
    async with store.pool(settings(own_postgres.url), "test", 3) as pool:
        before = await pids(pool)
        await pool.execute("SET default_transaction_read_only = on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await pool.execute("CREATE TABLE nothing (n int)")
        assert len(before) == 3
        assert not before & await pids(pool), "the idle ones lead to the same server"


async def pids(pool: "asyncpg.Pool[asyncpg.Record]") -> set[int]:
    """The server's processes of all connections of a pool."""
    return set(await asyncio.gather(*(pool.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.3)") for _ in range(3))))


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("?target_session_attrs=standby", "target_session_attrs=standby cannot be used"),
        ("?connect_timeout=never", "connect_timeout=never cannot be used"),
        ("?sslcrldir=/x", "the parameter sslcrldir is not supported"),
    ],
)
async def test_what_is_asked_and_cannot_be_done_is_said(own_postgres: PostgresServer, parameters: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        await port_of(address(own_postgres, own_postgres.port, 1, parameters=parameters))
