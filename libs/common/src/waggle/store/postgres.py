"""Connections to Postgres: one pool a service, with the session settings that the promises need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Final

import asyncpg
import structlog

from waggle.settings.services import DirectSettings
from waggle.settings.shared import Settings, SettingsError
from waggle.store import client
from waggle.store.client import Connection
from waggle.store.connections import STATEMENT_SECONDS, Connector, direct_url
from waggle.store.primary import PrimaryGate
from waggle.store.sql import statement

log = structlog.get_logger()

MINIMUM_VERSION: Final = 14

# Errors that a caller may wait out: the server is unavailable, full or restarting, or a lock is not free. The outcome of the statement is unknown.
# Not asyncpg's InterfaceError and InternalClientError, which are the parents of programming mistakes: where the cause is a connection that is closed,
# `store.client` raises ConnectionDoesNotExistError instead. See findings/asyncpg-a-wrong-argument-is-an-interface-error.sh.
POSTGRES_OUTAGE: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.TargetServerAttributeNotMatched,  # with several hosts: none of them is the primary at the moment
)

# What Postgres says of a value that it will not store: the row fails alone.
REFUSED: Final[tuple[type[Exception], ...]] = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


def session(name: str, *, plans_once: bool = False) -> dict[str, str]:
    """The session settings of every connection; `synchronous_commit` is what a 2xx promises, whatever the server's default.

    `plans_once` is for services that find all rows by their ids: without it, a statement with arrays is planned at every call.

    Every statement finds its rows by an index. Left alone, the planner scans a table that is small while it plans, and a prepared statement keeps
    that plan from its sixth execution on, while the table grows to millions.
    """
    return {
        "application_name": f"waggle-{name}",
        "synchronous_commit": "on",
        "default_transaction_isolation": "read committed",
        "statement_timeout": "9s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "jit": "off",
        "enable_seqscan": "off",
        "plan_cache_mode": "force_generic_plan" if plans_once else "auto",
    }


async def _keep(_: object) -> None:
    """Nothing to reset: no statement leaves session state behind, and the default reset costs a round trip per use."""


@asynccontextmanager
async def pool(
    settings: Settings, name: str, size: int, *, plans_once: bool = False, gate: PrimaryGate | None = None
) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A pool of at most `size` connections, opened as they are needed: it can be made while Postgres is unavailable. `plans_once`: see `session`.

    With a `gate`, no connection leads to a primary that was replaced.
    """
    connector = Connector(settings.postgres_url, settings.postgres_schema, session(name, plans_once=plans_once), gate=gate)
    made = client.Pool(schema=settings.postgres_schema, size=size, connect=connector, connection_class=client.TimeLimitedConnection, reset=_keep)
    await made
    try:
        yield made
    finally:
        try:
            async with asyncio.timeout(5):
                await made.close()
        except TimeoutError:
            made.terminate()


async def connect_once(settings: Settings, name: str, *, statement_seconds: float = STATEMENT_SECONDS) -> client.TimeLimitedConnection:
    """One connection, for a few statements. Raises SettingsError, and what asyncpg raises."""
    return await Connector(settings.postgres_url, settings.postgres_schema, session(name), statement_seconds=statement_seconds)()


async def connect(
    settings: DirectSettings, name: str, *, statement_seconds: float = STATEMENT_SECONDS, gate: PrimaryGate | None = None
) -> client.TimeLimitedConnection:
    """One connection, direct where the settings have an address for that. Raises SettingsError, and what asyncpg raises."""
    setting = "WAGGLE_POSTGRES_DIRECT_URL" if settings.postgres_direct_url else "WAGGLE_POSTGRES_URL"
    return await Connector(direct_url(settings), settings.postgres_schema, session(name), statement_seconds=statement_seconds, setting=setting, gate=gate)()


async def wait_until_migrated(connection: Connection) -> None:
    """Wait until Postgres answers and its schema is the one that this code was written for.

    Raises SettingsError when the server is too old or the schema is newer than this code.
    """
    said = ""
    while True:
        try:
            number, found = await versions(connection)
            if number < MINIMUM_VERSION * 10000:
                raise SettingsError(f"Postgres {number // 10000} is too old: Waggle needs {MINIMUM_VERSION} or newer")
            if found == head():
                return
            if found is not None and found > head():
                raise SettingsError(f"the database is at schema {found}, newer than this Waggle's {head()}: upgrade Waggle")
            now = f"the schema is at {found}, {head()} is needed: run `waggle migrate`" if found else "the schema has no tables: run `waggle migrate`"
        except POSTGRES_OUTAGE as error:
            now = f"Postgres is not reachable: {error or type(error).__name__}"
        if now != said:
            log.warning("waiting for Postgres", reason=now)
            said = now
        await asyncio.sleep(0.2)


@cache
def head() -> str:
    """The schema version that this code was written for: the last migration's. Versions sort by age. (Alembic knows it too, but is slow to import.)"""
    return max(file.name.partition("_")[0] for file in resources.files("waggle.store.migrations.versions").iterdir() if file.name.endswith(".py"))


async def versions(connection: Connection) -> tuple[int, str | None]:
    """The server's version number, and the schema's; None when the database has no schema. Raises SettingsError when it is another program's."""
    number = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
    try:
        row = await statement("schema/version").fetchrow(connection)
    except asyncpg.UndefinedTableError:
        return number, None
    if row is None:
        return number, None
    if not row["ours"]:
        raise SettingsError(client.FOREIGN.format(schema=client.schema_of(connection)))
    return number, row["version_num"]
