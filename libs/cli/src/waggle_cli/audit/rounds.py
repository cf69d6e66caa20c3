"""The rounds of an audit: look until it holds, repair, look again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from waggle.bus import connection
from waggle.bus.connection import Bus
from waggle.settings.services import CommandLineSettings
from waggle.settings.shared import Settings
from waggle.settings.sources import masked
from waggle.store import postgres
from waggle_cli.audit.looks import Pool, Seen, look
from waggle_cli.audit.repair import repair as mend
from waggle_cli.client import Unreachable

AGAIN: Final = 1.0  # seconds between two looks
CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 2
OUTAGE: Final[tuple[type[Exception], ...]] = (*postgres.OUTAGE, *connection.OUTAGE, asyncpg.PostgresError)


@dataclass
class Report:
    """What the last look saw, what was repaired before it (by condition), and how long it all took."""

    seen: Seen
    seconds: float
    repaired: dict[str, int] = field(default_factory=dict)


async def audit(settings: CommandLineSettings, *, wait: float, repair: bool = False, since: float | None = None) -> Report:
    """Look until everything holds, for at most `wait` seconds after the first look; then repair, and look again. Raises Unreachable or SettingsError."""
    began = time.monotonic()
    async with _servers(settings) as (pool, bus):
        seen, repaired = await _look_until_it_holds(pool, bus, wait, since), dict[str, int]()
        if repair and not seen.holds:
            repaired = await mend(pool, bus, seen, settings.lease)
            seen = await _look_until_it_holds(pool, bus, wait, since)
    return Report(seen, time.monotonic() - began, repaired)


async def _look_until_it_holds(pool: Pool, bus: Bus, wait: float, since: float | None) -> Seen:
    """What is wrong for a moment only, because it works, is not wrong."""
    seen = await look(pool, bus, since)
    deadline = time.monotonic() + wait
    while not seen.holds and time.monotonic() < deadline:
        await asyncio.sleep(min(AGAIN, wait))
        seen = await look(pool, bus, since, seen)
    return seen


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[tuple[Pool, Bus]]:
    """Both servers; whatever makes one of them unreachable, now or later, is raised as Unreachable."""
    where = f"Postgres at {masked(settings.postgres_url)}"
    try:
        async with postgres.pool(settings, "audit", CONNECTIONS) as pool, connection.connection(settings, "audit") as bus:
            await _check(pool)
            where = f"NATS at {masked(settings.nats_url)}"
            if not bus.connected:
                await bus.renewed(CONNECT_SECONDS)
            if not bus.connected:
                raise Unreachable(f"{where} does not answer")
            where = "a server"
            yield pool, bus
    except OUTAGE as error:
        raise Unreachable(f"{where} cannot be used: {str(error) or type(error).__name__}") from error


async def _check(pool: Pool) -> None:
    _, found = await postgres.versions(pool)
    if found != postgres.head():
        raise Unreachable(f"the schema is at {found or 'nothing'}, this Waggle knows {postgres.head()}: run `waggle migrate`, or upgrade Waggle")
