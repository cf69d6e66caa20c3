"""The SQL door through the connections of other libraries, inside the transactions that their owners began (docs/sql.md)."""

from typing import Any, Final
from uuid import UUID

TASKS: Final = "SELECT id FROM waggle.enqueue_many(CAST({0} AS json), {1})"
ASYNC_KINDS: Final = "a connection of asyncpg, an AsyncConnection of psycopg, or an AsyncConnection or AsyncSession of SQLAlchemy"
SYNC_KINDS: Final = "a Connection of psycopg, a Connection or Session of SQLAlchemy, or a connection of Django"


async def async_ids(connection: Any, tasks: str, key: str | None) -> list[UUID]:
    """Submit a JSON list of tasks; returns their ids. Raises TypeError for another kind of connection, and what its library raises."""
    match _library(connection):
        case "asyncpg" if hasattr(connection, "is_in_transaction"):  # a pool would take any connection
            return [row[0] for row in await connection.fetch(TASKS.format("$1::text", "$2"), tasks, key)]
        case "psycopg" if hasattr(connection, "__aenter__"):
            from psycopg.rows import tuple_row

            async with connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(TASKS.format("%s::text", "%s"), (tasks, key))
                return [row[0] for row in await cursor.fetchall()]
        case "sqlalchemy" if hasattr(connection, "__aenter__"):
            from sqlalchemy import text

            return _uuids((await connection.execute(text(TASKS.format(":tasks", ":key")), {"tasks": tasks, "key": key})).scalars())
    raise TypeError(f"{_named(connection)} is not {ASYNC_KINDS}")


def sync_ids(connection: Any, tasks: str, key: str | None) -> list[UUID]:
    """Submit a JSON list of tasks; returns their ids. Raises TypeError for another kind of connection, and what its library raises."""
    if _library(connection) == "sqlalchemy" and hasattr(connection, "registry"):  # a scoped_session
        connection = connection()
    match _library(connection):
        case "psycopg" if hasattr(connection, "__enter__"):
            from psycopg.rows import tuple_row

            with connection.cursor(row_factory=tuple_row) as cursor:
                cursor.execute(TASKS.format("%s::text", "%s"), (tasks, key))
                return [row[0] for row in cursor.fetchall()]
        case "sqlalchemy" if hasattr(connection, "__enter__"):
            from sqlalchemy import text

            return _uuids(connection.execute(text(TASKS.format(":tasks", ":key")), {"tasks": tasks, "key": key}).scalars())
        case "django":
            with connection.cursor() as cursor:
                cursor.execute(TASKS.format("%s", "%s"), (tasks, key))
                return _uuids(row[0] for row in cursor.fetchall())
    raise TypeError(f"{_named(connection)} is not {SYNC_KINDS}")


def _library(connection: Any) -> str:
    """The package of its class or of one that it inherits from, as a project's own session does."""
    roots = (kind.__module__.partition(".")[0] for kind in type(connection).__mro__)
    return next((root for root in roots if root in ("asyncpg", "psycopg", "sqlalchemy", "django")), "")


def _uuids(values: Any) -> list[UUID]:
    return [value if isinstance(value, UUID) else UUID(str(value)) for value in values]


def _named(connection: Any) -> str:
    return f"a {type(connection).__module__}.{type(connection).__qualname__}"
