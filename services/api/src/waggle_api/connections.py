"""Connections to Postgres for a bounded time, so that a request notices a server that hangs or a connection that died."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from waggle.store.client import PooledConnection

READ_TIMEOUT_SECONDS: Final = 8.0

Borrow: TypeAlias = Callable[[], AbstractAsyncContextManager[PooledConnection]]


@asynccontextmanager
async def borrowed(pool: "asyncpg.Pool[asyncpg.Record]", seconds: float = READ_TIMEOUT_SECONDS) -> AsyncIterator[PooledConnection]:
    """A connection for up to `seconds`. If it is still in use then, it is closed, which its user sees as an outage.

    (Cancelling the statement is not enough: asyncpg would then wait until the server acknowledges the cancellation.)
    """
    async with pool.acquire(timeout=seconds) as connection:
        timer = asyncio.get_running_loop().call_later(seconds, connection.give_up)  # type: ignore[attr-defined]  # of the connection it stands for
        try:
            yield connection
        finally:
            timer.cancel()
