"""Connections to Postgres for a bounded time, so that a server that stands still, or a link that died, is noticed by whoever waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

Borrowed: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
PATIENCE: Final = 8.0  # of a reader, in seconds


@asynccontextmanager
async def borrowed(pool: "asyncpg.Pool[asyncpg.Record]", seconds: float = PATIENCE) -> AsyncIterator[Borrowed]:
    """A connection for at most so many seconds; one that has not answered by then is closed, which its user sees as an outage.

    (A cancelled statement would not do: asyncpg then waits until the server has acknowledged the cancellation.)
    """
    async with pool.acquire(timeout=seconds) as connection:
        given_up = asyncio.Event()

        def give_up() -> None:
            given_up.set()
            connection.terminate()

        timer = asyncio.get_running_loop().call_later(seconds, give_up)
        try:
            yield connection
        except AttributeError as error:  # asyncpg's, whose connection was closed between an answer and its next step
            if given_up.is_set():
                raise TimeoutError("Postgres did not answer in time") from error
            raise
        finally:
            timer.cancel()
