"""The catalogue: the task types and queues that workers announced; kept when the workers leave.

A type has a version for each payload that it has had. Which of them are served follows from the leases of the workers.
"""

import hashlib
import itertools
from collections.abc import Collection, Container, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import asyncpg

from waggle import payload_schema, secret_fields
from waggle.payload_schema import TypeSchema
from waggle.store.client import Connection
from waggle.store.sql import statement


class TaskType(NamedTuple):
    """A task type as a worker announces it: its defaults and the JSON Schema of its payload (text).

    `timeout` is in seconds; `backoff` is JSON (text), None for the default.
    """

    name: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    schema: str
    backoff: str | None = None

    @property
    def version(self) -> str:
        return version_of(self.schema)


class TypeVersion(NamedTuple):
    """A version of a task type: its defaults, its schema (text), when it was first announced, until when it was served, and by how many workers it is.

    `accepted`: new tasks may have its payload, because a live worker serves it, or nobody lives and it was served last.
    """

    name: str
    version: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    schema: str
    announced: datetime
    served: datetime
    workers: int
    accepted: bool
    backoff: str | None


class ServedVersion(NamedTuple):
    """A version that live workers serve, with its schema (text) and the queues of these workers."""

    name: str
    version: str
    schema: str
    queues: list[str]


Schemas: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""The schemas (texts) of a type: those of the accepted versions, the newest first, and those of all versions that hide values."""


def version_of(schema: str) -> str:
    """The version of a type with this schema; migration 0021 computes the same."""
    return hashlib.sha256(schema.encode()).hexdigest()[:12]


async def announce(connection: Connection, types: Sequence[TaskType], queues: Sequence[str], hooked: Container[str] = ()) -> None:
    """Write what is new or changed. `hooked` are the types with a cleanup hook."""
    await statement("queues/announce").execute(connection, names=list(queues))
    names, type_queues, max_retries, timeouts, dead_letters, schemas, backoffs = ([*column] for column in zip(*types, strict=True))
    await statement("types/announce").execute(
        connection,
        names=names,
        queues=type_queues,
        max_retries=max_retries,
        timeouts=timeouts,
        dead_letters=dead_letters,
        schemas=schemas,
        backoffs=backoffs,
        cleanups=[name in hooked for name in names],
    )


async def versions(connection: Connection) -> list[TypeVersion]:
    """The accepted versions, of each type the newest first, and all that hide values."""
    return [TypeVersion(*row) for row in await statement("types/list").fetch(connection)]


def schemas_of(versions: Sequence[TypeVersion]) -> Schemas:
    """The schemas of a type's versions, as `payload_schema.of_type` takes them."""
    return tuple([row.schema for row in versions if row.accepted]), tuple([row.schema for row in versions if secret_fields.has_any(row.schema)])


async def payload_schemas(connection: Connection) -> dict[str, TypeSchema]:
    """What the payloads of each known type may be."""
    return {name: payload_schema.of_type(name, *schemas_of(list(rows))) for name, rows in itertools.groupby(await versions(connection), lambda row: row.name)}


async def served(connection: Connection, names: Collection[str]) -> list[ServedVersion]:
    """The versions of these types that live workers serve."""
    return [ServedVersion(*row) for row in await statement("types/served").fetch(connection, names=list(names))]


async def delete_old_versions(connection: Connection, kept: int) -> None:
    """Of the versions that nobody serves, keep as many of each type."""
    await statement("types/delete_old").execute(connection, kept=kept)


async def queues(connection: Connection) -> dict[str, bool]:
    """Every known queue, and whether it is paused."""
    return {row["name"]: row["paused"] for row in await statement("queues/list").fetch(connection)}


async def depths(connection: Connection) -> list[asyncpg.Record]:
    """Waiting tasks a lane: queue, priority, ready, later."""
    return await statement("queues/depths").fetch(connection)


async def running(connection: Connection) -> list[asyncpg.Record]:
    """Running tasks a lane: queue, priority, running."""
    return await statement("queues/running").fetch(connection)
