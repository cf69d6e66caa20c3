"""Whether the API can do its work: it is ready while Postgres answers; without NATS it is degraded, because work is accepted but delayed."""

import asyncio
import time
from importlib.metadata import version
from typing import Final, Literal

import asyncpg
import msgspec

from waggle.bus.connection import Bus
from waggle.store.postgres import OUTAGE
from waggle_api.connections import borrowed

VERSION: Final = version("waggle-api")
FRESH: Final = 1.0
PATIENCE: Final = 1.0


class Health:
    """Asks Postgres at most once a second, on a connection of its own: readers that keep the others busy do not make the API unready."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus) -> None:
        self._pool, self._bus = pool, bus
        self._lock = asyncio.Lock()
        self._asked, self._answered = -FRESH, False
        self.is_open = False  # set once the schema and the catalogue were read

    async def db(self) -> bool:
        async with self._lock:
            if time.monotonic() - self._asked >= FRESH:
                self._answered = await self._ask()
                self._asked = time.monotonic()
        return self._answered

    async def _ask(self) -> bool:
        try:
            async with borrowed(self._pool, PATIENCE) as connection:
                await connection.fetchval("SELECT 1")
        except OUTAGE:
            return False
        return True

    def nats(self) -> bool:
        return self._bus.connected

    async def ready(self) -> bool:
        return self.is_open and await self.db()


class Check(msgspec.Struct, frozen=True):
    """One check."""

    status: Literal["ok", "unavailable"]


class Report(msgspec.Struct, frozen=True):
    """The body of `/health`: `ok`, `degraded` (no NATS) or `unavailable` (no Postgres)."""

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    checks: dict[str, Check]


def check(is_well: bool) -> Check:
    return Check("ok" if is_well else "unavailable")


async def report(health: Health) -> Report:
    db, nats = await health.db(), health.nats()
    status: Literal["ok", "degraded", "unavailable"] = "unavailable" if not (db and health.is_open) else "ok" if nats else "degraded"
    return Report(status, VERSION, {"db": check(db), "nats": check(nats)})
