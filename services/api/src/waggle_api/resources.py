"""What the routes work with: opened by `__main__`, handed to each handler that asks for a `door`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from waggle.bus.connection import Bus
from waggle_api.connections import PATIENCE, Borrowed, borrowed
from waggle_api.control.waits import Waits
from waggle_api.health import Health
from waggle_api.submit.admission import Admission
from waggle_api.submit.commit import Committer

RESERVED: Final = 9  # connections of the pool that requests leave to the committer and to waits: slow lists must not stop submissions


class Door:
    """The resources of the API. (Not a dataclass: Litestar would look into its fields at every call.)"""

    __slots__ = ("_places", "admission", "bus", "committer", "health", "pool", "waits")

    def __init__(self, *, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, admission: Admission, committer: Committer, waits: Waits, health: Health) -> None:
        self.pool, self.bus = pool, bus
        self._places = asyncio.Semaphore(max(1, pool.get_max_size() - RESERVED))
        self.admission, self.committer, self.waits, self.health = admission, committer, waits, health

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Borrowed]:
        """A connection for one request. Raises TimeoutError when others have them all for too long."""
        async with asyncio.timeout(PATIENCE):
            await self._places.acquire()
        try:
            async with borrowed(self.pool) as connection:
                yield connection
        finally:
            self._places.release()
