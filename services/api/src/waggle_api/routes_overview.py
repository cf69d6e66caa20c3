"""Queues, workers and task types: what is there, as Postgres has it now."""

from typing import Any

import msgspec
from litestar import Request, get
from litestar.types import ASGIApp

from waggle.store import catalogue, leases
from waggle.task import Priority
from waggle_api import answers, queries
from waggle_api.door import Door


class Depth(msgspec.Struct):
    """Tasks that may run now, tasks whose time is still to come, tasks that run."""

    ready: int = 0
    later: int = 0
    running: int = 0


class Queue(msgspec.Struct):
    """A queue: its sums, and each of its lanes by the name of its priority."""

    name: str
    paused: bool
    ready: int
    later: int
    running: int
    lanes: dict[str, Depth]


@get("/queues")
async def queues(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Every known queue, and those that tasks are in though nobody announced them."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        names, depths, running = await catalogue.queues(connection), await catalogue.depths(connection), await catalogue.running(connection)
    lanes: dict[str, dict[str, Depth]] = {name: _empty() for name in names}
    for row in depths:
        depth = lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])]
        depth.ready, depth.later = row["ready"], row["later"]
    for row in running:
        lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])].running = row["running"]
    return answers.items([_queue(name, names.get(name, False), found) for name, found in sorted(lanes.items())])


def _empty() -> dict[str, Depth]:
    return {_lane(priority): Depth() for priority in Priority}


def _lane(priority: int) -> str:
    return Priority(priority).name.lower()


def _queue(name: str, paused: bool, lanes: dict[str, Depth]) -> Queue:
    depths = list(lanes.values())
    return Queue(name, paused, sum([d.ready for d in depths]), sum([d.later for d in depths]), sum([d.running for d in depths]), lanes)


@get("/workers")
async def workers(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Every known worker, the newest first; `alive` by its lease and the database's clock."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return answers.items([dict(row) for row in await leases.workers(connection)])


@get("/types")
async def types(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """The catalogue: task types with their defaults and the JSON Schema of their payloads."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return answers.items([{**row._asdict(), "schema": msgspec.Raw(row.schema)} for row in await catalogue.types(connection)])
