"""`waggle migrate`: the schema in Postgres, then the streams in NATS if it answers. Safe to repeat, and to run several times at once."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import asyncpg
import structlog
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from waggle.bus import connection, topology
from waggle.bus.connection import NATS_OUTAGE
from waggle.settings.services import CommandLineSettings
from waggle.settings.shared import SettingsError
from waggle.store import catalogue, definitions, migrate, postgres
from waggle.store.connections import direct_url
from waggle.store.hosts import read_address
from waggle_cli.doctor import findings

NATS_SECONDS = 2.0


def apply(settings: CommandLineSettings) -> int:
    """Bring both up to date and report what was done; the exit code. Raises SettingsError.

    A NATS that does not answer is no error: the scheduler creates what is missing there.
    """
    return _run(settings, _apply(settings))


def print_sql(settings: CommandLineSettings) -> int:
    """Print the SQL that `apply` would run on this database, and change nothing; the exit code. Raises SettingsError."""
    return _run(settings, _print_sql(settings))


def check(settings: CommandLineSettings) -> int:
    """Say whether the schema is up to date and complete; 1 when it is not, with what differs. Raises SettingsError."""
    return _run(settings, _check(settings))


def _run(settings: CommandLineSettings, command: Coroutine[Any, Any, int]) -> int:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    try:
        read_address(settings.postgres_url)
        if settings.postgres_direct_url:
            read_address(settings.postgres_direct_url, "WAGGLE_POSTGRES_DIRECT_URL")
    except SettingsError:
        command.close()
        raise
    return asyncio.run(_reporting(command))


async def _reporting(command: Coroutine[Any, Any, int]) -> int:
    try:
        return await command
    except CommandError as error:
        return _failed(f"Postgres: {error}. Was the database migrated by a newer Waggle?")
    except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _failed(f"Postgres: {_reason(error)}")


async def _apply(settings: CommandLineSettings) -> int:
    before, after = await migrate.migrate(direct_url(settings), settings.postgres_schema)
    async with postgres.pool(settings, "migrate", 1) as pool:
        queues = await catalogue.queues(pool)
    if before is None:
        print(f"Postgres: the schema was created ({after})")
    elif before == after:
        print(f"Postgres: the schema is up to date ({after})")
    else:
        print(f"Postgres: the schema went from {before} to {after}")
    return await _ensure_topology(settings, list(queues))


async def _print_sql(settings: CommandLineSettings) -> int:
    script = await migrate.script(direct_url(settings), settings.postgres_schema)
    print(script or f"-- The schema is up to date ({postgres.head()}).\n", end="")
    return 0


async def _check(settings: CommandLineSettings) -> int:
    opened = await postgres.connect(settings, "migrate")
    try:
        _, revision = await postgres.versions(opened)
        if revision is None:
            return _failed(f"Postgres: the schema {settings.postgres_schema} has no tables: run `waggle migrate`")
        if revision != postgres.head():
            advice = "run `waggle migrate`" if revision < postgres.head() else "upgrade Waggle"
            return _failed(f"Postgres: the schema {settings.postgres_schema} is at {revision}, not at {postgres.head()}: {advice}")
        found = definitions.differences(definitions.expected(), await definitions.read(opened))
    finally:
        await opened.close()
    for line in found:
        print(f"Postgres: {line}")
    if found:
        return _failed(f"Postgres: the schema {settings.postgres_schema} is damaged ({len(found)} difference{'s' if len(found) > 1 else ''})")
    print(f"Postgres: the schema {settings.postgres_schema} is up to date ({revision}) and complete")
    return 0


async def _ensure_topology(settings: CommandLineSettings, queues: list[str]) -> int:
    async with connection.connection(settings, "migrate") as bus:
        await bus.renewed(NATS_SECONDS)
        if not bus.connected:
            print("NATS: no answer, nothing done; the scheduler creates the streams as soon as NATS answers", file=sys.stderr)
            return 0
        try:
            created = await topology.ensure(bus, settings, queues)
        except NATS_OUTAGE as error:
            return _failed(f"NATS: {_reason(error)}")
    print(f"NATS: created {', '.join(created)}" if created else "NATS: the streams are up to date")
    return 0


def _failed(reason: str) -> int:
    print(f"waggle migrate: {reason}", file=sys.stderr)
    return 1


def _reason(error: Exception) -> str:
    return findings.reason(getattr(error, "orig", None) or error)
