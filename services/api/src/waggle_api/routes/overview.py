"""`/api/workers` and `/api/types`: the workers and task types in Postgres."""

from datetime import datetime
from typing import Final

import msgspec
from litestar.types import ASGIApp

from waggle.scopes import Scope
from waggle.store import catalogue, leases
from waggle.task import Object
from waggle_api.http import answers
from waggle_api.http.answers import Page
from waggle_api.http.routing import Group
from waggle_api.resources import Call

ROUTES: Final = Group("Queues, workers, types")


class WorkerInfo(msgspec.Struct):
    """A worker: its lease in seconds, how many tasks it runs, whether it takes no more (`draining`), whether it is alive by its lease."""

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


class TypeInfo(msgspec.Struct):
    """A task type: its defaults, whether its tasks may become dead letters, and the JSON Schema of its payload. `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    schema: Object
    updated: datetime | None


@ROUTES.route("GET", "/workers", name="overview_workers", scope=Scope.TASKS_READ, answers={200: Page[WorkerInfo]})
async def list_workers(call: Call) -> ASGIApp:
    """Every known worker, the newest first; `alive` by its lease and the database's clock."""
    async with call.resources.connection() as connection:
        return answers.page([WorkerInfo(**row) for row in await leases.workers(connection)])


@ROUTES.route("GET", "/types", name="overview_types", scope=Scope.TASKS_READ, limited=True, answers={200: Page[TypeInfo]})
async def list_types(call: Call) -> ASGIApp:
    """The catalogue: task types with their defaults and the JSON Schema of their payloads."""
    async with call.resources.connection() as connection:
        return answers.page([_as_json(row) for row in await catalogue.types(connection) if call.caller.types is None or row.name in call.caller.types])


def _as_json(row: catalogue.TaskType) -> TypeInfo:
    return TypeInfo(row.name, row.queue, row.max_retries, row.timeout, row.dead_letter, msgspec.Raw(row.schema), row.updated)
