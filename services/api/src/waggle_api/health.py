"""The health of the API: it is ready while Postgres answers and takes writes; without NATS, or when NATS stores nothing, it is degraded:
work is accepted but delayed.
"""

import asyncio
import time
from typing import Final, Literal

import asyncpg
import msgspec
import structlog

from waggle.bus.ring import Ringer
from waggle.pinned import WAGGLE_VERSION
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.connections import borrowed

PROBE_SECONDS: Final = 1.0  # between two questions to Postgres
PROBE_TIMEOUT_SECONDS: Final = 1.0
WRITABLE: Final = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"

log = structlog.get_logger()


class Health:
    """Probes Postgres at most once a second, on a connection of its own, so that readers that occupy the others do not make the API unready."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", ringer: Ringer, requests: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool, self._ringer, self._requests = pool, ringer, requests
        self._lock = asyncio.Lock()
        self._asked, self._answered = -PROBE_SECONDS, False
        self.is_open = False  # set once the schema and the catalogue have been read

    async def db(self) -> bool:
        async with self._lock:
            if time.monotonic() - self._asked >= PROBE_SECONDS:
                self._answered = await self._ask()
                self._asked = time.monotonic()
        return self._answered

    async def _ask(self) -> bool:
        try:
            async with borrowed(self._pool, PROBE_TIMEOUT_SECONDS) as connection:
                if await connection.fetchval(WRITABLE):
                    return True
                connection.give_up()  # type: ignore[attr-defined]  # of the connection it stands for
        except POSTGRES_OUTAGE:
            return False
        log.warning("Postgres takes no writes, opening new connections")
        await self._requests.expire_connections()
        return False

    def nats(self) -> bool:
        return self._ringer.works

    async def ready(self) -> bool:
        return self.is_open and await self.db()


class HealthCheck(msgspec.Struct, frozen=True):
    """One check."""

    status: Literal["ok", "unavailable"]


class HealthReport(msgspec.Struct, frozen=True):
    """The body of `/health`: `ok`, `degraded` (no NATS, or it stores nothing) or `unavailable` (no Postgres)."""

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    checks: dict[str, HealthCheck]


def check(is_ok: bool) -> HealthCheck:
    return HealthCheck("ok" if is_ok else "unavailable")


async def report(health: Health) -> HealthReport:
    db, nats = await health.db(), health.nats()
    status: Literal["ok", "degraded", "unavailable"] = "unavailable" if not (db and health.is_open) else "ok" if nats else "degraded"
    return HealthReport(status, WAGGLE_VERSION, {"db": check(db), "nats": check(nats)})
