"""`python -m waggle.store.migrate`: bring the schema up to date; safe when several do it at once."""

import asyncio
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from waggle.settings.environment import read
from waggle.settings.services import CommandLineSettings
from waggle.settings.shared import DEFAULT_SCHEMA, SettingsError
from waggle.store.connections import check_direct, direct_url
from waggle.store.definitions import expected
from waggle.store.postgres import head

LOCK: Final = 0x77616767  # one migration at a time in a database
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


class Place(NamedTuple):
    """Where the tables are, and at which revision; None before the first migration. `schema` is where they belong."""

    schema: str
    home: str
    revision: str | None


async def migrate(postgres_url: str, schema: str = DEFAULT_SCHEMA) -> tuple[str | None, str]:
    """Apply what is missing, each migration in a transaction of its own, beside running services. Returns the revisions before and after.

    Raises SettingsError for an address that cannot be used, a pooler among them, and alembic's CommandError for a revision that it does not know.
    """
    engine = create_async_engine(_sqlalchemy_url(await check_direct(postgres_url)))
    try:
        async with engine.connect() as guard, engine.connect() as connection:
            await guard.execution_options(isolation_level="AUTOCOMMIT")
            await _alone(guard)
            moved = await connection.run_sync(_upgrade, schema)
            await _validate(guard, schema)
            return moved
    finally:
        await engine.dispose()


async def script(postgres_url: str, schema: str = DEFAULT_SCHEMA) -> str:
    """The SQL that `migrate` would run on this database, for psql; empty when the schema is up to date. It changes nothing."""
    engine = create_async_engine(_sqlalchemy_url(await check_direct(postgres_url)))
    try:
        async with engine.connect() as connection:
            place = await connection.run_sync(_place, schema)
    finally:
        await engine.dispose()
    return "" if place.revision == head() and place.home == schema else _script(place)


def _sqlalchemy_url(postgres_url: str) -> str:
    return f"postgresql+asyncpg://{postgres_url.partition('://')[2]}"


async def _alone(connection: AsyncConnection) -> None:
    """Wait until no other migration runs. It polls: a session that waits for the lock in Postgres holds up an index that is built concurrently."""
    reported = False
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        if not reported:
            print("waggle migrate: another migration is running, waiting", file=sys.stderr)
        reported = True
        await asyncio.sleep(0.2)


def _place(connection: sqlalchemy.Connection, schema: str) -> Place:
    """Raises SettingsError when the schema holds another program's tables."""
    home = schema
    if not _exists(connection, f'"{schema}".alembic_version'):
        home = connection.scalar(text(OLD_HOME)) or schema
    revision = MigrationContext.configure(connection, opts={"version_table_schema": home}).get_current_revision()
    if revision is not None and not _exists(connection, f'"{home}".task_attempts'):
        raise SettingsError(f"the table alembic_version in the schema {schema} belongs to another program: set WAGGLE_POSTGRES_SCHEMA to another schema")
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
    except (OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        print(f"waggle migrate: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"schema {after}: already up to date" if before == after else f"schema {before or 'empty'} -> {after}")


if __name__ == "__main__":
    main()
