"""The catalogue: the task types and queues that workers announced; kept when the workers leave."""

from collections.abc import Container, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from waggle.store.client import Connection
from waggle.store.sql import statement


class TaskType(NamedTuple):
    """A task type: its defaults and the JSON Schema of its payload (text). `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    schema: str
    updated: datetime | None = None


async def announce(connection: Connection, types: Sequence[TaskType], queues: Sequence[str], hooked: Container[str] = ()) -> None:
    """Write what is new or changed. `hooked` are the types with a cleanup hook."""
    await statement("queues/announce").execute(connection, names=list(queues))
    names, type_queues, max_retries, timeouts, dead_letters, schemas, _ = ([*column] for column in zip(*types, strict=True))
    await statement("types/announce").execute(
        connection,
        names=names,
        queues=type_queues,
        max_retries=max_retries,
        timeouts=timeouts,
        dead_letters=dead_letters,
        schemas=schemas,
        cleanups=[name in hooked for name in names],
    )


async def types(connection: Connection) -> list[TaskType]:
    return [TaskType(*row) for row in await statement("types/list").fetch(connection)]


async def queues(connection: Connection) -> dict[str, bool]:
    """Every known queue, and whether it is paused."""
    return {row["name"]: row["paused"] for row in await statement("queues/list").fetch(connection)}


async def depths(connection: Connection) -> list[asyncpg.Record]:
    """Waiting tasks a lane: queue, priority, ready, later."""
    return await statement("queues/depths").fetch(connection)


async def running(connection: Connection) -> list[asyncpg.Record]:
    """Running tasks a lane: queue, priority, running."""
    return await statement("queues/running").fetch(connection)
