"""The rounds of an audit: observe until everything holds, repair, observe again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg

from waggle.audit import repair as repairs
from waggle.audit.conditions import Observation, Pool, observe
from waggle.bus import connection
from waggle.bus.connection import Bus
from waggle.settings.services import CommandLineSettings
from waggle.settings.sources import masked
from waggle.store import postgres

RECHECK_SECONDS: Final = 1.0
NATS_CONNECT_SECONDS: Final = 5.0
AUDIT_CONNECTIONS: Final = 2
SERVER_ERRORS: Final[tuple[type[Exception], ...]] = (*postgres.POSTGRES_OUTAGE, *connection.NATS_OUTAGE, asyncpg.PostgresError)


class CannotAudit(Exception):
    """Postgres or NATS cannot be used; the message says which, and why."""


@dataclass
class AuditReport:
    """The last observation, what was repaired before it (by condition), what was changed in corrected rows, and how many seconds it all took."""

    seen: Observation
    seconds: float
    repaired: dict[str, int] = field(default_factory=dict)
    corrected: dict[UUID, str] = field(default_factory=dict)


async def audit(settings: CommandLineSettings, *, wait: float, repair: bool = False, since: float | None = None) -> AuditReport:
    """Observe until everything holds, for at most `wait` seconds after the first observation; then repair, and observe again.

    `since` limits the history to tasks of the last seconds. Raises CannotAudit or SettingsError.
    """
    began = time.monotonic()
    async with _servers(settings) as (pool, bus):
        seen, repaired = await _observe_until_it_holds(pool, bus, wait, since), repairs.Repaired({}, {})
        if repair and not seen.holds:
            repaired = await repairs.repair(pool, bus, seen, settings.lease)
            seen = await _observe_until_it_holds(pool, bus, wait, since)
    return AuditReport(seen, time.monotonic() - began, *repaired)


async def _observe_until_it_holds(pool: Pool, bus: Bus, wait: float, since: float | None) -> Observation:
    """On a busy system a condition may be violated for a moment: only what stays counts."""
    seen = await observe(pool, bus, since)
    deadline = time.monotonic() + wait
    while not seen.holds and time.monotonic() < deadline:
        await asyncio.sleep(min(RECHECK_SECONDS, wait))
        seen = await observe(pool, bus, since, seen)
    return seen


@asynccontextmanager
async def _servers(settings: CommandLineSettings) -> AsyncIterator[tuple[Pool, Bus]]:
    """Connections to both servers. An error of either, now or later, is raised as CannotAudit."""
    where = f"Postgres at {masked(settings.postgres_url)}"
    try:
        async with postgres.pool(settings, "audit", AUDIT_CONNECTIONS) as pool, connection.connection(settings, "audit") as bus:
            await _check_schema(pool)
            where = f"NATS at {masked(settings.nats_url)}"
            if not bus.connected:
                await bus.renewed(NATS_CONNECT_SECONDS)
            if not bus.connected:
                raise CannotAudit(f"{where} does not answer")
            where = "a server"
            yield pool, bus
    except SERVER_ERRORS as error:
        raise CannotAudit(f"{where} cannot be used: {str(error) or type(error).__name__}") from error


async def _check_schema(pool: Pool) -> None:
    _, found = await postgres.versions(pool)
    if found != postgres.head():
        raise CannotAudit(f"the schema is at {found or 'nothing'}, this Waggle needs {postgres.head()}: run `waggle migrate`, or upgrade Waggle")
