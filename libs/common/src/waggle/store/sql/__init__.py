"""The statements: one file each, `<noun>/<verb>.sql`, read once.

In a file `:name` is a parameter and becomes Postgres's `$n`, and `waggle.` stands for the schema that holds the tables.
"""

import re
import time
from collections.abc import Awaitable
from functools import cache, partial
from importlib import resources
from typing import Any, Final, TypeVar

import asyncpg

from waggle.settings.shared import DEFAULT_SCHEMA
from waggle.store.client import Connection, schema_of
from waggle.telemetry import catalogue, traces

T = TypeVar("T")

SECONDS: Final = catalogue.STATEMENT_SECONDS.create()
ANSWERS: Final = catalogue.POSTGRES_CONNECTED.create()

NO_ANSWER: Final[tuple[type[Exception], ...]] = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
_TOKEN: Final = re.compile(r"--[^\n]*|'[^']*'|::|\bwaggle\.|:([a-z_]+)")


class Statement:
    """One statement with its parameters by name. A pool as connection means: a transaction of its own."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.parameters: list[str] = []
        self._seconds = SECONDS.labels(name)
        self._source = source
        self._texts: dict[str, str] = {}
        self.text(DEFAULT_SCHEMA)  # finds the parameters

    def text(self, schema: str) -> str:
        """The statement for a schema, made once for each."""
        found = self._texts.get(schema)
        if found is None:
            found = self._texts[schema] = _TOKEN.sub(partial(self._replace, schema), self._source).strip()
        return found

    def _replace(self, schema: str, match: re.Match[str]) -> str:
        found, parameter = match.group(0), match.group(1)
        if parameter is None:
            return f'"{schema}".' if found == "waggle." else "" if found.startswith("--") else found
        if parameter not in self.parameters:
            self.parameters.append(parameter)
        return f"${self.parameters.index(parameter) + 1}"

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the parameters. Raises KeyError for a missing one, TypeError for one too many."""
        if len(values) != len(self.parameters):
            raise TypeError(f"{self.name}.sql takes {self.parameters}, got {list(values)}")
        return [values[parameter] for parameter in self.parameters]

    async def fetch(self, connection: Connection, /, **values: Any) -> list[asyncpg.Record]:
        return await self._timed(connection.fetch(self.text(schema_of(connection)), *self.bind(values)))

    async def fetchrow(self, connection: Connection, /, **values: Any) -> asyncpg.Record | None:
        return await self._timed(connection.fetchrow(self.text(schema_of(connection)), *self.bind(values)))

    async def fetchval(self, connection: Connection, /, **values: Any) -> Any:
        return await self._timed(connection.fetchval(self.text(schema_of(connection)), *self.bind(values)))

    async def execute(self, connection: Connection, /, **values: Any) -> int:
        """Returns how many rows it changed."""
        tag = await self._timed(connection.execute(self.text(schema_of(connection)), *self.bind(values)))  # such as `DELETE 3`
        return int(tag.rpartition(" ")[2])

    async def _timed(self, answer: Awaitable[T]) -> T:
        """The answer of Postgres. One that does not come, or that the server gives because it stops or starts, counts as not connected."""
        began, error, traced = time.perf_counter(), None, time.time_ns() if traces.CURRENT.get() is not None else 0
        try:
            found = await answer
        except BaseException as raised:
            error = type(raised).__name__
            if isinstance(raised, NO_ANSWER):
                ANSWERS.set(0)
            raise
        finally:
            self._seconds.observe(time.perf_counter() - began)
            if traced:
                traces.statement(self.name, traced, error)
        ANSWERS.set(1)
        return found


@cache
def statement(name: str) -> Statement:
    """The statement of `<name>.sql`, such as `tasks/claim`. Raises FileNotFoundError."""
    return Statement(name, resources.files(__package__).joinpath(f"{name}.sql").read_text())


def names() -> list[str]:
    """The names of all statements."""
    return sorted(
        f"{noun.name}/{file.name.removesuffix('.sql')}"
        for noun in resources.files(__package__).iterdir()
        if noun.is_dir()
        for file in noun.iterdir()
        if file.name.endswith(".sql")
    )
