"""`python -m waggle.store.migrate`: bring the schema up to date; safe when several do it at once."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from waggle.settings.environment import read
from waggle.settings.shared import Settings, SettingsError
from waggle.store.postgres import head

LOCK: Final = 0x77616767  # one migration at a time


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


async def migrate(postgres_url: str) -> tuple[str | None, str]:
    """Apply what is missing, each migration in a transaction of its own, beside running services. Returns the versions before and after."""
    scheme, _, rest = postgres_url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise SettingsError(f"WAGGLE_POSTGRES_URL must begin with postgresql://, not {scheme}://")
    engine = create_async_engine(f"postgresql+asyncpg://{rest}")
    try:
        async with engine.connect() as guard, engine.connect() as connection:
            await guard.execution_options(isolation_level="AUTOCOMMIT")
            await _alone(guard)
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def _alone(connection: AsyncConnection) -> None:
    """Wait until nobody else migrates. Not in Postgres: whoever waited there would hold up an index that is built concurrently."""
    said = False
    while not await connection.scalar(sqlalchemy.text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        if not said:
            print("waggle migrate: somebody else migrates, waiting", file=sys.stderr)
        said = True
        await asyncio.sleep(0.2)


def _upgrade(connection: sqlalchemy.Connection) -> tuple[str | None, str]:
    from alembic.runtime.migration import MigrationContext

    before = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()  # the migrations begin transactions of their own
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, head()


def main() -> None:
    try:
        before, after = asyncio.run(migrate(read(Settings, os.environ).postgres_url))
    except SettingsError as error:
        print(f"waggle migrate: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        print(f"waggle migrate: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"schema {after}: already up to date" if before == after else f"schema {before or 'empty'} -> {after}")


if __name__ == "__main__":
    main()
