"""Which server is the primary, and since when: leases are counted from then at the earliest.

Whoever first sees a new primary records it, in a table that Postgres empties by a promotion and by a crash recovery (`waggle.primary_since`).
"""

from datetime import datetime
from typing import NamedTuple

import asyncpg
import structlog

from waggle.store.client import Connection
from waggle.store.sql import statement

log = structlog.get_logger()


class PrimaryServer(NamedTuple):
    """A primary: a promotion raises the timeline of its system. A new timeline need not be another machine."""

    system: int
    timeline: int

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}"


class Observed(NamedTuple):
    """The primary, and since when it is; `now` is its time."""

    server: PrimaryServer
    now: datetime
    since: datetime


async def observe(connection: Connection) -> Observed:
    """Look at the primary, and record it if nobody has. Raises one of POSTGRES_OUTAGE, also for a standby."""
    while True:
        try:
            row = await statement("primary/observe").fetchrow(connection)
        except asyncpg.FeatureNotSupportedError as error:
            raise asyncpg.ReadOnlySQLTransactionError(f"this server is a standby: {error}") from error
        assert row is not None
        server = PrimaryServer(row["system_identifier"], row["timeline"])
        if row["since"] is not None:
            return Observed(server, row["now"], row["since"])
        if await statement("primary/record").execute(connection):
            log.warning("Postgres has a new primary, leases are counted from now", system=server.system, timeline=server.timeline)
