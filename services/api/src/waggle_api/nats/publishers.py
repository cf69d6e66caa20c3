"""Who publishes: the name in a subject, which NATS binds to its user, and what their row allows. A copy of the rows, read every REFRESH_SECONDS."""

import asyncio
import time
from typing import Final

import asyncpg

from waggle.loops import periodic
from waggle.scopes import Scope
from waggle.store import publishers
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.caller import Caller
from waggle_api.connections import borrowed
from waggle_api.refusals import Forbidden

REFRESH_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.25  # between two looks for an unknown name
DOOR: Final = "nats"
SCOPES: Final = frozenset({Scope.TASKS_WRITE})


class Publishers:
    """The copy. `anybody`: nobody is asked who they are, and each name may do everything."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, anybody: bool) -> None:
        self._pool, self._anybody = pool, anybody
        self._known: dict[str, Caller] = {}
        self._lock = asyncio.Lock()
        self._read = -REFRESH_SECONDS

    async def caller(self, name: str) -> Caller:
        """Raises Forbidden for somebody without a row, or one of POSTGRES_OUTAGE."""
        found = self._known.get(name)
        if found is not None:
            return found
        if self._anybody:
            return Caller(name=f"publisher:{name}", scopes=SCOPES, door=DOOR)
        if time.monotonic() - self._read >= PAUSE_SECONDS:  # they may have been added a moment ago
            await self._refresh()
        if name not in self._known:
            raise Forbidden(f"there is no publisher of the name {name}: `waggle publishers add {name}` makes one")
        return self._known[name]

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that refreshes the copy."""

        async def step() -> bool:
            await self._refresh()
            return False

        await periodic(REFRESH_SECONDS, step, POSTGRES_OUTAGE, stopping)

    async def _refresh(self) -> None:
        async with self._lock, borrowed(self._pool) as connection:
            began = time.monotonic()
            rows = await publishers.everybody(connection)
        self._known = {
            row.name: Caller(
                name=f"publisher:{row.name}",
                scopes=SCOPES,
                queues=None if row.queues is None else frozenset(row.queues),
                types=None if row.types is None else frozenset(row.types),
                door=DOOR,
            )
            for row in rows
        }
        self._read = began
