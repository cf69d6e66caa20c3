"""What the routes work with: opened by `__main__`, handed to each handler that asks for a `door`."""

from contextlib import AbstractAsyncContextManager

import asyncpg

from waggle.bus.connection import Bus
from waggle_api.admission import Admission
from waggle_api.commit import Committer
from waggle_api.connections import Borrowed, borrowed
from waggle_api.health import Health
from waggle_api.waits import Waits


class Door:
    """The resources of the API. (Not a dataclass: Litestar would look into its fields at every call.)"""

    __slots__ = ("admission", "bus", "committer", "health", "pool", "waits")

    def __init__(self, *, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, admission: Admission, committer: Committer, waits: Waits, health: Health) -> None:
        self.pool, self.bus = pool, bus
        self.admission, self.committer, self.waits, self.health = admission, committer, waits, health

    def connection(self) -> AbstractAsyncContextManager[Borrowed]:
        """A connection for one request."""
        return borrowed(self.pool)
