"""`/api/workers` and `/api/types`: the workers and task types in Postgres."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from litestar.types import ASGIApp

from waggle import retry
from waggle.field_errors import did_you_mean
from waggle.retry import ShownBackoff
from waggle.scopes import Scope
from waggle.store import catalogue, leases
from waggle.task import Object
from waggle_api.http import answers
from waggle_api.http.answers import Page
from waggle_api.http.routing import Group
from waggle_api.refusals import NotFound
from waggle_api.resources import Call
from waggle_api.routes import parameters

ROUTES: Final = Group("Queues, workers, types", {"name": parameters.TYPE})


class WorkerInfo(msgspec.Struct):
    """A worker: its lease in seconds, how many tasks it runs, whether it takes no more (`draining`), whether it is alive by its lease.

    `versions` are those of its `types`, in their order.
    """

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
    versions: list[str]
    running: int
    draining: bool
    alive: bool


class TypeVersionInfo(msgspec.Struct):
    """A version of a type: the JSON Schema of its payload, when it was first announced, until when it was served, and the live workers that serve it."""

    version: str
    schema: Object
    announced: datetime
    served: datetime
    workers: list[str]


class TypeInfo(msgspec.Struct):
    """A task type: the defaults and the JSON Schema of its newest version, its backoff, and the versions whose payloads are accepted.

    `timeout` is in seconds.
    """

    name: str
    queue: str
    max_retries: int
    timeout: float
    dead_letter: bool
    version: str
    schema: Object
    updated: datetime
    backoff: ShownBackoff
    versions: list[TypeVersionInfo]


@ROUTES.route("GET", "/workers", name="overview_workers", scope=Scope.TASKS_READ, answers={200: Page[WorkerInfo]})
async def list_workers(call: Call) -> ASGIApp:
    """Every known worker, the newest first; `alive` by its lease and the database's clock."""
    async with call.resources.connection() as connection:
        return answers.page([WorkerInfo(**row) for row in await leases.workers(connection)])


@ROUTES.route("GET", "/types", name="overview_types", scope=Scope.TASKS_READ, limited=True, answers={200: Page[TypeInfo]})
async def list_types(call: Call) -> ASGIApp:
    """The catalogue: task types with their defaults and the JSON Schema of their payloads."""
    return answers.page(await _types(call))


@ROUTES.route("GET", "/types/{name}", name="overview_type", scope=Scope.TASKS_READ, limited=True, answers={200: TypeInfo})
async def get_type(call: Call, name: str) -> ASGIApp:
    """One task type, with the versions whose payloads are accepted and the workers that serve each."""
    found = {each.name: each for each in await _types(call)}
    if name not in found:
        raise NotFound(f"no worker has announced a type with this name{did_you_mean(name, found)}")
    return answers.ok(found[name])


async def _types(call: Call) -> list[TypeInfo]:
    """The types that the caller may use, by name."""
    async with call.resources.connection() as connection:
        versions = [each for each in await catalogue.versions(connection) if each.accepted and (call.caller.types is None or each.name in call.caller.types)]
        workers = await leases.workers(connection)
    serving: dict[tuple[str, str], list[str]] = defaultdict(list)
    for worker in workers:
        if worker["alive"] and not worker["draining"]:
            for served in zip(worker["types"], worker["versions"], strict=False):  # a worker of before names no versions
                serving[served].append(worker["id"])
    return [_as_json(list(rows), serving) for _, rows in itertools.groupby(versions, lambda row: row.name)]


def _as_json(rows: list[catalogue.TypeVersion], serving: Mapping[tuple[str, str], list[str]]) -> TypeInfo:
    """A type of its accepted versions, the newest first."""
    newest = rows[0]
    versions = [TypeVersionInfo(row.version, msgspec.Raw(row.schema), row.announced, row.served, serving.get((row.name, row.version), [])) for row in rows]
    return TypeInfo(
        newest.name,
        newest.queue,
        newest.max_retries,
        newest.timeout,
        newest.dead_letter,
        newest.version,
        msgspec.Raw(newest.schema),
        newest.announced,
        retry.shown(retry.DEFAULT_BACKOFF) if newest.backoff is None else msgspec.json.decode(newest.backoff, type=ShownBackoff),
        versions,
    )
