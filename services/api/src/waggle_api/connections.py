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
        timed_out = asyncio.Event()

        def give_up() -> None:
            timed_out.set()
            connection.terminate()

        timer = asyncio.get_running_loop().call_later(seconds, give_up)
        try:
            yield connection
        except AttributeError as error:  # raised by asyncpg if the connection was closed between an answer and its next step
            if timed_out.is_set():
                raise TimeoutError("Postgres did not answer in time") from error
            raise
        finally:
            timer.cancel()
