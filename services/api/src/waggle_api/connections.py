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
        timer = asyncio.get_running_loop().call_later(seconds, connection.terminate)
        try:
            yield connection
        finally:
            timer.cancel()
