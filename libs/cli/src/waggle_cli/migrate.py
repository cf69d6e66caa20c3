"""`waggle migrate`: the schema in Postgres, then the streams in NATS when it answers. Safe to repeat, and when several do it at once."""

import asyncio
import sys

import asyncpg
import structlog
from alembic.util import CommandError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from waggle.bus import connection, topology
from waggle.bus.connection import OUTAGE
from waggle.settings.services import CommandLineSettings
from waggle.settings.shared import SettingsError
from waggle.store import catalogue, postgres
from waggle.store.migrate import migrate as apply

NATS_SECONDS = 2.0


def migrate(settings: CommandLineSettings) -> int:
    """Bring both up to date and say what was done; the exit code. Raises SettingsError.

    A NATS that does not answer is no error: the scheduler creates what is missing there.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    _check(settings.postgres_url)
    return asyncio.run(_migrate(settings))


def _check(postgres_url: str) -> None:
    try:
        make_url(postgres_url)
    except (ValueError, ArgumentError) as error:
        raise SettingsError(f"WAGGLE_POSTGRES_URL cannot be used: {error}") from None


async def _migrate(settings: CommandLineSettings) -> int:
    try:
        before, after = await apply(settings.postgres_url)
        async with postgres.pool(settings, "migrate", 1) as pool:
            queues = await catalogue.queues(pool)
    except CommandError as error:
        return _failed(f"Postgres: {error}. Was the database made by a newer Waggle?")
    except (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _failed(f"Postgres: {_first_line(error)}")
    print(f"Postgres: the schema is up to date ({after})" if before == after else f"Postgres: the schema went from {before or 'nothing'} to {after}")
    return await _ensure_topology(settings, list(queues))


async def _ensure_topology(settings: CommandLineSettings, queues: list[str]) -> int:
    async with connection.connection(settings, "migrate") as bus:
        await bus.renewed(NATS_SECONDS)
        if not bus.connected:
            print("NATS: does not answer, nothing done; the scheduler creates the streams once it does", file=sys.stderr)
            return 0
        try:
            created = await topology.ensure(bus, settings, queues)
        except OUTAGE as error:
            return _failed(f"NATS: {_first_line(error)}")
    print(f"NATS: created {', '.join(created)}" if created else "NATS: the streams are up to date")
    return 0


def _failed(reason: str) -> int:
    print(f"waggle migrate: {reason}", file=sys.stderr)
    return 1


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0] or type(error).__name__
