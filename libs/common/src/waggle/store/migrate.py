"""`python -m waggle.store.migrate`: bring the schema up to date; safe when several do it at once."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from waggle.settings.environment import read
from waggle.settings.services import CommandLineSettings
from waggle.settings.shared import DEFAULT_SCHEMA, SettingsError
from waggle.store.client import FOREIGN, TimeLimitedConnection
from waggle.store.connections import direct, direct_url
from waggle.store.definitions import expected
from waggle.store.postgres import head

LOCK: Final = 0x77616767  # one migration at a time in a database
WAIT_SECONDS: Final = 600.0  # for another one
MOVED: Final = "0007"  # the migration that moves the tables of an older Waggle into the schema

CREATE_SCHEMA: Final = """
DO $$
BEGIN
    IF to_regnamespace('"{schema}"') IS NULL THEN
        CREATE SCHEMA "{schema}";
    END IF;
END
$$
"""

# The schema in which a Waggle before 0007 put its tables: the first of the search path that it found. Another program's table `alembic_version` or
# `tasks` does not look like that: the function is Waggle's.
OLD_HOME: Final = """
SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid = to_regprocedure('waggle_claimable(text, timestamptz, timestamptz)')
  AND to_regclass(format('%I.tasks', n.nspname)) IS NOT NULL AND to_regclass(format('%I.alembic_version', n.nspname)) IS NOT NULL
"""


NOT_VALID: Final = """
SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = to_regnamespace(:schema) AND k.conname LIKE '%\\_fit' AND NOT k.convalidated ORDER BY 1, 2
"""
ODD_ROWS: Final = (
    "rows of before break the constraint {constraint}, which refuses new ones: services set them aside."
    " `waggle audit` names them, and `waggle audit --repair` corrects tasks; then migrate again"
)


# A statement with parameters, or with rows, would leave a snapshot in the transaction: an index that is built concurrently waits for it.
TAKE_LOCK: Final = f"""
DO $$
BEGIN
    IF NOT pg_try_advisory_xact_lock({LOCK}) THEN
        RAISE EXCEPTION 'another migration is running' USING ERRCODE = 'lock_not_available';
    END IF;
END
$$
"""

# Who has the lock. Behind a pooler it is a session of the pooler's, which may have it for ever.
HOLDERS: Final = """
SELECT format('process %s (%s of %s, %s since %s)', l.pid, coalesce(nullif(a.application_name, ''), 'no name'), coalesce(host(a.client_addr), 'this machine'),
              coalesce(a.state, 'unknown'), to_char(a.state_change AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS holder
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.pid
"""
TO_END_IT: Final = "If that is no migration, such as an idle session of a pooler, end it: SELECT pg_terminate_backend(PROCESS), then migrate again"


class Place(NamedTuple):
    """Where the tables are, and at which revision; None before the first migration. `schema` is where they belong."""

    schema: str
    home: str
    revision: str | None


async def migrate(postgres_url: str, schema: str = DEFAULT_SCHEMA) -> tuple[str | None, str]:
    """Apply what is missing, each migration in a transaction of its own, beside running services. Returns the revisions before and after.

    Raises SettingsError for an address that cannot be used, a pooler among them, TimeoutError when another one does not end, and alembic's CommandError
    for a revision that it does not know.
    """
    engine = _engine(postgres_url)
    try:
        async with _alone(postgres_url), engine.connect() as connection:
            moved = await connection.run_sync(_upgrade, schema)
            await connection.commit()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await _validate(connection, schema)
            return moved
    finally:
        await engine.dispose()


async def script(postgres_url: str, schema: str = DEFAULT_SCHEMA) -> str:
    """The SQL that `migrate` would run on this database, for psql; empty when the schema is up to date. It changes nothing."""
    engine = _engine(postgres_url)
    try:
        async with engine.connect() as connection:
            place = await connection.run_sync(_place, schema)
    finally:
        await engine.dispose()
    return "" if place.revision == head() and place.home == schema else _script(place)


def _engine(postgres_url: str) -> AsyncEngine:
    """SQLAlchemy on connections of ours: its own reading of an address knows less than libpq's. Raises SettingsError."""
    return create_async_engine("postgresql+asyncpg://", isolation_level="READ COMMITTED", async_creator=direct(postgres_url, "migrate"))


@asynccontextmanager
async def _alone(postgres_url: str) -> AsyncIterator[None]:
    """Wait until no other migration runs; for the length of the block this one is alone. Raises TimeoutError after WAIT_SECONDS.

    The lock is that of a transaction: a pooler that was not recognised would keep the lock of a session.
    """
    guard = await direct(postgres_url, "migrate")()
    began, reported = time.monotonic(), ""
    try:
        while not await _is_taken(guard):
            holders = "; ".join([row["holder"] for row in await guard.fetch(HOLDERS, LOCK)]) or "unknown"
            if time.monotonic() - began > WAIT_SECONDS:
                raise TimeoutError(f"another migration has the lock for {WAIT_SECONDS:g} s: {holders}. {TO_END_IT}")
            if holders != reported:
                print(f"waggle migrate: another migration is running, waiting: {holders}", file=sys.stderr)
            reported = holders
            await asyncio.sleep(0.2)
        yield
        await guard.execute("ROLLBACK")
    finally:
        await guard.close(timeout=5)


async def _is_taken(guard: TimeLimitedConnection) -> bool:
    """Take the lock, in a transaction that stays open. Without waiting in Postgres: that would hold up an index that is built concurrently."""
    transaction = guard.transaction(isolation="read_committed")
    await transaction.start()
    try:
        await guard.execute(TAKE_LOCK)
    except asyncpg.LockNotAvailableError:
        await transaction.rollback()
        return False
    return True


def _place(connection: sqlalchemy.Connection, schema: str) -> Place:
    """Raises SettingsError when the schema holds another program's tables."""
    home = schema
    if not _exists(connection, f'"{schema}".alembic_version'):
        home = connection.scalar(text(OLD_HOME)) or schema
    revision = MigrationContext.configure(connection, opts={"version_table_schema": home}).get_current_revision()
    if revision is not None and not _exists(connection, f'"{home}".task_attempts'):
        raise SettingsError(FOREIGN.format(schema=schema))
    connection.rollback()  # the migrations begin transactions of their own
    return Place(schema, home, revision)


def _exists(connection: sqlalchemy.Connection, table: str) -> bool:
    return connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table}) is True


def _upgrade(connection: sqlalchemy.Connection, schema: str) -> tuple[str | None, str]:
    place = _place(connection, schema)
    connection.execute(text(CREATE_SCHEMA.format(schema=schema)))
    for home, _, to in _stages(place):
        if home != schema:
            print(f"waggle migrate: moving the tables from the schema {home} to the schema {schema}", file=sys.stderr)
        connection.execute(text(f'SET search_path TO "{home}"'))
        connection.commit()
        made = config(schema, home)
        made.attributes["connection"] = connection
        command.upgrade(made, to)
    return place.revision, head()


async def _validate(connection: AsyncConnection, schema: str) -> None:
    """Hold the rows of before against the constraints that refuse odd ones: each reads its table beside running services."""
    for table, constraint in (await connection.execute(text(NOT_VALID), {"schema": f'"{schema}"'})).all():
        try:
            await connection.execute(text(_validation(schema, table, constraint)))
        except sqlalchemy.exc.IntegrityError:
            print(f"waggle migrate: {ODD_ROWS.format(constraint=constraint)}", file=sys.stderr)


def _validation(schema: str, table: str, constraint: str) -> str:
    return f'ALTER TABLE "{schema}".{table} VALIDATE CONSTRAINT {constraint}'


def _stages(place: Place) -> list[tuple[str, str | None, str]]:
    """The schema in which the migrations run, their first and their last revision: tables that move do so on the way."""
    if place.home == place.schema:
        return [(place.home, place.revision, "head")]
    return [(place.home, place.revision, MOVED), (place.schema, MOVED, "head")]


def config(schema: str, home: str) -> Config:
    """Alembic's configuration. The caller sets the session's search path to `home` and gives its connection as the attribute `connection`."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes.update(schema=schema, home=home)
    return made


def _script(place: Place) -> str:
    parts = [CREATE_SCHEMA.format(schema=place.schema).strip() + ";"]
    for home, since, to in _stages(place):
        made, written = config(place.schema, home), StringIO()
        made.output_buffer = written
        command.upgrade(made, f"{since}:{to}" if since else to, sql=True)
        parts += [f'SET search_path TO "{home}";', written.getvalue().strip()]
    refusing = sorted(name.split(".") for name in expected()["constraint"] if name.endswith("_fit"))
    parts += [f"{_validation(place.schema, *name)};" for name in refusing]
    return "\n\n".join(part for part in [*parts, "RESET search_path;"] if part) + "\n"


def main() -> None:
    try:
        settings = read(CommandLineSettings, os.environ)
        before, after = asyncio.run(migrate(direct_url(settings), settings.postgres_schema))
    except SettingsError as error:
        print(f"waggle migrate: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(f"waggle migrate: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"schema {after}: already up to date" if before == after else f"schema {before or 'empty'} -> {after}")


if __name__ == "__main__":
    main()
