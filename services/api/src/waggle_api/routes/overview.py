"""Workers and task types: what is there, as Postgres has it now."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, get
from litestar.types import ASGIApp

from waggle.store import catalogue, leases
from waggle.task import Object
from waggle_api.http import answers, queries
from waggle_api.resources import Door


class Worker(msgspec.Struct):
    """A worker: its lease in seconds, the tasks that it runs, whether it takes no more (`draining`), whether it is alive by its lease."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_seen: datetime
    lease: float
    concurrency: int
    queues: list[str]
    types: list[str]
    running: int
    draining: bool
    alive: bool


class Type(msgspec.Struct):
    """A task type: its defaults, whether its tasks may become dead letters, and the JSON Schema of its payload. `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    schema: Object
    updated: datetime | None


@get("/workers")
async def workers(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Every known worker, the newest first; `alive` by its lease and the database's clock."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return answers.items([Worker(**row) for row in await leases.workers(connection)])


@get("/types")
async def types(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """The catalogue: task types with their defaults and the JSON Schema of their payloads."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return answers.items([_type(row) for row in await catalogue.types(connection)])


def _type(row: catalogue.TaskType) -> Type:
    return Type(row.name, row.queue, row.max_retries, row.timeout, row.dead_letter, msgspec.Raw(row.schema), row.updated)
