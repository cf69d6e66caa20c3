"""Load that lasts as long as the fault, however slow the machine is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from support.loops import again_and_again
from support.oracle import History, submit_load
from support.system import Client

BATCH = 50


@asynccontextmanager
async def busy(client: Client, pool: "asyncpg.Pool[asyncpg.Record]", history: History, waiting: int, **task: Any) -> AsyncIterator[None]:
    """Keep about the given number of these tasks waiting, for the length of a block."""

    async def feed() -> None:
        if await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'pending'") < waiting:
            await submit_load(client, history, BATCH, batch=BATCH, pause=0.0, **task)

    async with again_and_again(feed, 0.02):
        yield
