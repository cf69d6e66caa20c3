"""What counts as an outage of Postgres: a connection that is closed does, a wrong use of asyncpg does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import asyncpg
import pytest

from support.facts import until
from waggle.settings.shared import Settings
from waggle.store import postgres, tasks
from waggle.store.client import PooledConnection
from waggle.store.postgres import POSTGRES_OUTAGE

Pool = asyncpg.Pool
Close = Callable[[PooledConnection, Pool], Awaitable[None]]


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[PooledConnection]:
    async with pool.acquire() as acquired:
        yield acquired


async def close(connection: PooledConnection, pool: Pool) -> None:
    """Postgres closes a connection."""
    await pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())


async def close_and_notice(connection: PooledConnection, pool: Pool) -> None:
    """Postgres closes a connection, and this side has noticed before its next statement."""
    raw = connection._con
    await close(connection, pool)
    await until(raw.is_closed)


@pytest.mark.parametrize(("statement", "arguments"), [("SELECT 1", ["one too many"]), ("SELECT $1::int", ["not a number"]), ("SELECT $1::int, $2::int", [1])])
async def test_a_wrong_use_is_no_outage(pool: Pool, statement: str, arguments: list[object]) -> None:
    with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)) as raised:
        await pool.fetch(statement, *arguments)
    assert not isinstance(raised.value, POSTGRES_OUTAGE)


async def test_a_wrong_use_inside_a_transaction_is_no_outage(connection: PooledConnection) -> None:
    with pytest.raises(asyncpg.InterfaceError) as raised:
        async with connection.transaction():
            await connection.execute("SELECT 1", "one too many")
    assert not isinstance(raised.value, POSTGRES_OUTAGE)


@pytest.mark.parametrize("closed", [close, close_and_notice])
@pytest.mark.parametrize("method", ["execute", "fetch", "fetchrow", "fetchval"])
async def test_a_statement_in_a_transaction_whose_connection_closed_is_an_outage(connection: PooledConnection, pool: Pool, closed: Close, method: str) -> None:

    async def block() -> None:
        async with connection.transaction():
            await closed(connection, pool)
            await getattr(connection, method)("SELECT 1")

    with pytest.raises(POSTGRES_OUTAGE):
        await block()


@pytest.mark.parametrize("closed", [close, close_and_notice])
@pytest.mark.parametrize("in_transaction", [True, False])
async def test_a_statement_of_ours_on_a_closed_connection_is_an_outage(pool: Pool, closed: Close, in_transaction: bool) -> None:
    async def block() -> None:
        async with pool.acquire() as acquired, acquired.transaction() if in_transaction else nullcontext():
            await closed(acquired, pool)
            await tasks.get_many(acquired, [])

    with pytest.raises(POSTGRES_OUTAGE):
        await block()


async def test_a_second_use_of_a_connection_that_closed_is_an_outage(pool: Pool) -> None:
    async def block() -> None:
        async with pool.acquire() as acquired:
            await close_and_notice(acquired, pool)
            await acquired.fetchval("SELECT 1")

    with pytest.raises(POSTGRES_OUTAGE):
        await block()


async def test_a_connection_that_is_closed_between_two_steps_of_a_statement_is_an_outage(connection: PooledConnection) -> None:
    """A timer can do this when Postgres has answered the first step and the second one has not begun."""
    statement: Any = connection.fetchval("SELECT 1 + 1")
    answered = statement.send(None)
    answered._asyncio_future_blocking = False
    await asyncio.wait([answered])
    connection.terminate()
    with pytest.raises(POSTGRES_OUTAGE):
        statement.send(None)


async def test_a_use_of_a_connection_after_its_block_is_no_outage(pool: Pool) -> None:
    async with pool.acquire() as acquired:
        pass
    with pytest.raises(asyncpg.InterfaceError) as raised:
        await acquired.fetchval("SELECT 1")
    assert not isinstance(raised.value, POSTGRES_OUTAGE)


@pytest.mark.parametrize("closed", [close, close_and_notice])
async def test_a_commit_on_a_closed_connection_is_an_outage(connection: PooledConnection, pool: Pool, closed: Close) -> None:
    with pytest.raises(POSTGRES_OUTAGE):
        async with connection.transaction():
            await closed(connection, pool)


@pytest.mark.parametrize("closed", [close, close_and_notice])
async def test_a_transaction_on_a_closed_connection_is_an_outage(settings: Settings, pool: Pool, closed: Close) -> None:
    async with postgres.pool(settings, "test", 1) as other, other.acquire() as connection:
        raw = connection._con
        await closed(connection, pool)
        with pytest.raises(POSTGRES_OUTAGE):
            async with raw.transaction():
                pass


async def test_a_connection_that_closed_leaves_other_errors_of_a_block_alone(connection: PooledConnection, pool: Pool) -> None:
    async def block() -> None:
        async with connection.transaction():
            await close_and_notice(connection, pool)
            raise KeyError

    with pytest.raises(KeyError):
        await block()


async def test_a_cancellation_is_not_lost_when_the_connection_closes(connection: PooledConnection, pool: Pool) -> None:
    inside = asyncio.Event()

    async def sleep() -> None:
        async with connection.transaction():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(sleep())
    await inside.wait()
    await close_and_notice(connection, pool)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_pool_that_is_closing_is_an_outage(settings: Settings) -> None:
    async with postgres.pool(settings, "test", 1) as pool:
        await pool.fetchval("SELECT 1")
        await pool.close()
        with pytest.raises(POSTGRES_OUTAGE):
            await pool.fetchval("SELECT 1")
