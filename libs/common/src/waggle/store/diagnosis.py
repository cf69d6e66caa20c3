"""What `waggle doctor` asks Postgres: on one connection that only reads, gives up soon and changes no setting of the server's own.

A function is one statement; `seconds` leaves what a scheduler would do something about at any moment to it.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from waggle.settings.shared import Settings
from waggle.store.client import Connection, TimeLimitedConnection
from waggle.store.connections import Connector
from waggle.store.postgres import session
from waggle.store.sql import statement

DOCTOR_CONNECT_SECONDS: Final = 3.0  # for Postgres, and in the doctor for NATS
STATEMENT_SECONDS: Final = 4.0
MOST: Final = 10_000  # tasks that are counted at most


class Late(NamedTuple):
    """How many tasks, and for how long the first one of them; `tasks` may be MOST, for that many or more."""

    tasks: int
    seconds: float


async def connect(settings: Settings) -> TimeLimitedConnection:
    """Raises SettingsError for what cannot be an address, and what asyncpg raises for a server that refuses the login."""
    ours = session("doctor")
    del ours["synchronous_commit"]  # to see the server's own
    limits = {"default_transaction_read_only": "on", "statement_timeout": f"{STATEMENT_SECONDS:g}s", "lock_timeout": "1s"}
    connector = Connector(
        settings.postgres_url, settings.postgres_schema, {**ours, **limits}, seconds=DOCTOR_CONNECT_SECONDS, statement_seconds=STATEMENT_SECONDS + 1
    )
    return await connector()


async def clock(connection: Connection) -> datetime:
    """The server's clock at this moment."""
    found: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return found


async def server(connection: Connection) -> asyncpg.Record:
    """The server's facts: see the statement."""
    row = await statement("diagnosis/server").fetchrow(connection)
    assert row is not None
    return row


async def standbys(connection: Connection) -> list[asyncpg.Record]:
    """Servers that replicate this one: name, state, sync_state."""
    return await statement("diagnosis/standbys").fetch(connection)


async def waiting_for_standby(connection: Connection) -> tuple[int, float]:
    """How many commits wait for a synchronous standby, and for how many seconds the longest has."""
    row = await statement("diagnosis/waiting_for_standby").fetchrow(connection)
    assert row is not None
    return row["sessions"], row["seconds"]


async def connected_services(connection: Connection) -> dict[str, int]:
    """Connections of each kind of service: `{"api": 3, …}`."""
    rows: list[Any] = await statement("diagnosis/services").fetch(connection)
    return {row["name"].removeprefix("waggle-"): row["connections"] for row in rows}


async def unrung(connection: Connection, seconds: float) -> Late:
    """Due tasks without a doorbell."""
    row = await statement("diagnosis/unrung").fetchrow(connection, seconds=seconds, most=MOST)
    assert row is not None
    return Late(row["tasks"], row["seconds"] or 0.0)


async def overdue(connection: Connection, seconds: float) -> int:
    """Unfinished tasks past their deadline."""
    return int(await statement("diagnosis/overdue").fetchval(connection, seconds=seconds, most=MOST))


async def without_worker(connection: Connection, seconds: float) -> int:
    """Running tasks whose worker is gone."""
    return int(await statement("diagnosis/without_worker").fetchval(connection, seconds=seconds, most=MOST))


async def ready(connection: Connection) -> list[asyncpg.Record]:
    """What is ready to run: queue, type, tasks, seconds (that the first has been ready)."""
    return await statement("diagnosis/ready").fetch(connection, most=MOST)


async def busy(connection: Connection) -> list[asyncpg.Record]:
    """The live workers that take tasks: id, queues, types, concurrency, taken (slots, by the worker's word), tasks (that run under it), seconds
    (since the last of them started, or None).
    """
    return await statement("diagnosis/busy").fetch(connection)


async def unserved_types(connection: Connection) -> list[asyncpg.Record]:
    """Types that wait and that no live worker serves: type, queue, tasks."""
    return await statement("types/unserved").fetch(connection, most=MOST)
