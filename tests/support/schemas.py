"""Schemas of other versions: taken back to an older revision, and as an older Waggle installed them."""

from collections.abc import Callable

import asyncpg
import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from waggle.settings.shared import DEFAULT_SCHEMA
from waggle.store.migrate import config


async def go_back(database: str, revision: str) -> None:
    """Take the schema back to an older revision, where it is."""
    await _run(database, DEFAULT_SCHEMA, lambda made: command.downgrade(made, revision))


async def install_old(database: str, revision: str) -> None:
    """Replace what is there by what a Waggle before 0007 would have installed: everything in the schema `public`."""
    connection = await asyncpg.connect(database)
    await connection.execute(f"DROP SCHEMA IF EXISTS {DEFAULT_SCHEMA} CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    await _run(database, "public", lambda made: command.upgrade(made, revision))


async def _run(database: str, schema: str, change: Callable[[Config], None]) -> None:
    engine = create_async_engine(f"postgresql+asyncpg://{database.partition('://')[2]}")

    def run(connection: sqlalchemy.Connection) -> None:
        connection.execute(sqlalchemy.text(f'SET search_path TO "{schema}"'))
        connection.commit()
        made = config(schema, schema)
        made.attributes["connection"] = connection
        change(made)

    async with engine.connect() as opened:
        await opened.run_sync(run)
    await engine.dispose()
