"""Statements built with SQLAlchemy Core and sent over our own connections, which know poolers, failovers and time limits (docs/adr/0015)."""

from functools import cache
from typing import Any, Final

import asyncpg
from sqlalchemy import literal_column
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql import ClauseElement

from waggle.store.client import Connection, schema_of

SECOND: Final[Any] = literal_column("interval '1 second'")
"""To count seconds from the database's clock: `func.now() + 30 * SECOND`."""

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


async def fetch(connection: Connection, statement: ClauseElement) -> list[asyncpg.Record]:
    """The rows of a statement."""
    text, values = compiled(statement, schema_of(connection))
    return await connection.fetch(text, *values)


async def fetchrow(connection: Connection, statement: ClauseElement) -> asyncpg.Record | None:
    """The first row of a statement, or None."""
    text, values = compiled(statement, schema_of(connection))
    return await connection.fetchrow(text, *values)


def compiled(statement: ClauseElement, schema: str) -> tuple[str, list[Any]]:
    """The statement as Postgres takes it, for tables in this schema, and the values of $1, $2 …"""
    made = statement.compile(
        dialect=_DIALECT, schema_translate_map=_translation(schema), render_schema_translate=True, compile_kwargs={"render_postcompile": True}
    )
    values = made.construct_params() or {}
    return str(made), [values[name] for name in made.positiontup or ()]  # type: ignore[attr-defined]  # of an SQLCompiler


@cache
def _translation(schema: str) -> dict[None, str]:
    return {None: schema}
