"""The figures of the whole system, for the metrics. Each function is one statement."""

from typing import Final

import asyncpg

from waggle.store import snapshots
from waggle.store.client import Connection, schema_of
from waggle.store.sql import statement

DEAD_LEAST: Final = 200_000  # rows, below which nobody notices
DEAD_TIMES: Final = 4  # dead rows for each live one
MOST: Final = 10_000  # due tasks without a doorbell that are looked at


async def oldest(connection: Connection) -> list[asyncpg.Record]:
    """How many seconds the first task of each lane has been due: queue, priority, seconds. Lanes without one are left out."""
    return await statement("figures/oldest").fetch(connection, most=MOST)


async def depths(connection: Connection) -> list[asyncpg.Record]:
    """Tasks of each lane: queue, priority, due, later, running."""
    return await statement("figures/depths").fetch(connection)


async def queues(connection: Connection) -> list[asyncpg.Record]:
    """All queues: name, paused, and their live workers."""
    return await statement("figures/queues").fetch(connection)


async def server(connection: Connection) -> asyncpg.Record:
    """Of the server: bytes, connections, connections_most, slot_transactions."""
    row = await statement("figures/server").fetchrow(connection)
    assert row is not None
    return row


async def rows(connection: Connection) -> list[asyncpg.Record]:
    """Of each hot table: table, live, dead."""
    return await statement("figures/rows").fetch(connection, schema=schema_of(connection))


async def bloated(connection: Connection) -> list[asyncpg.Record]:
    """The hot tables with so many dead rows that statements slow down: table, live, dead, as Postgres estimates them."""
    return [row for row in await rows(connection) if row["dead"] > DEAD_LEAST and row["dead"] > DEAD_TIMES * row["live"]]


async def dead_letters(connection: Connection, most: int) -> list[asyncpg.Record]:
    """Dead letters by type and error code, the `most` largest groups: type, code, tasks."""
    return await statement("figures/dead_letters").fetch(connection, most=most)


async def oldest_transaction(connection: Connection) -> float:
    """Seconds since the oldest transaction began that keeps dead rows of our tables; 0 without one."""
    return max([snapshot.seconds or 0.0 for snapshot in await snapshots.held(connection) if snapshot.kind != "replication slot"], default=0.0)
