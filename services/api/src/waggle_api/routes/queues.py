"""`/api/queues`: what is in them, pause and resume, figures, purge. A pause is a row in Postgres; workers are told, and look by themselves."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import structlog
from litestar import Request, get, post
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.bus import subjects
from waggle.field_errors import FieldError, Invalid, did_you_mean
from waggle.store import catalogue
from waggle.store import queues as store
from waggle.submission import PriorityOrName, priority_of
from waggle.task import TYPE_LENGTH, TYPE_PATTERN, Priority
from waggle_api.callers import submitter
from waggle_api.connections import Borrowed
from waggle_api.control import purging
from waggle_api.http import answers, bodies, fields, queries
from waggle_api.http.answers import Answer, encode
from waggle_api.refusals import NotFound
from waggle_api.resources import Door
from waggle_api.routes import parameters

log = structlog.get_logger()

FEW: Final = 10
WINDOW: Final = 3600.0
BODY_LIMIT: Final = 64 << 10


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


class QueueStats(msgspec.Struct, kw_only=True):
    """The figures of a queue, of tasks created since `since`: `window` is the seconds that were really looked at. `processing_time` is in seconds."""

    queue: str
    window: float
    since: datetime
    tasks_enqueued: int
    tasks_completed: int
    tasks_failed: int
    active_workers: int
    queue_length: int
    processing_time: float
    error_rate: float


class PurgeQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which waiting tasks are cancelled; all of the queue when nothing is given."""

    priority: PriorityOrName | None = None
    type: Annotated[str, Meta(pattern=TYPE_PATTERN, max_length=TYPE_LENGTH)] | None = None


class Purged(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many waiting tasks were cancelled; `more` when the time of the request was over before all were."""

    cancelled: int
    more: bool = False


@get("/queues")
async def listing(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Every known queue, and those that tasks are in though nobody announced them."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return answers.items(list((await _all(connection)).values()))


@get("/queues/{queue:str}")
async def show(request: Request[Any, Any, Any], queue: str, door: Door) -> ASGIApp:
    """One queue."""
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        return Answer(200, encode(_there(queue, await _all(connection))))


@post("/queues/{queue:str}/pause", status_code=200)
async def pause(request: Request[Any, Any, Any], queue: str, door: Door) -> ASGIApp:
    """Pause a queue: its workers start nothing more of it within a second; what runs goes on, what comes waits. Repeating it is fine."""
    return await _set(request, queue, door, paused=True)


@post("/queues/{queue:str}/resume", status_code=200)
async def resume(request: Request[Any, Any, Any], queue: str, door: Door) -> ASGIApp:
    """Resume a paused queue. Repeating it is fine."""
    return await _set(request, queue, door, paused=False)


@get("/queues/{queue:str}/stats")
async def stats(request: Request[Any, Any, Any], queue: str, door: Door) -> ASGIApp:
    """The figures of a queue over a window of time, or over as much of it as the newest 100,000 tasks of all queues span: `since` says how much."""
    window = queries.read(request, parameters.STATS).get("window", WINDOW)
    async with door.connection() as connection:
        await _check(connection, queue)
        row = await store.stats(connection, queue, window)
    return Answer(200, encode(QueueStats(queue=queue, **row)))


@post("/queues/{queue:str}/purge", status_code=200)
async def purge(request: Request[Any, Any, Any], queue: str, door: Door) -> ASGIApp:
    """Cancel the tasks that wait in a queue, in batches; running ones go on.

    Tasks that come while it works are left alone. With very many it may end before it is done: `more` says so, and a repetition goes on.
    """
    queries.read(request, queries.NOTHING)
    wanted = fields.read(await bodies.read_optional(request, dict(request.scope["headers"]), BODY_LIMIT), PurgeQueue)
    priority = _priority(wanted)
    async with door.connection() as connection:
        await _check(connection, queue)
        cancelled, more = await purging.purge(connection, door.bus, purging.Which(queue, priority, wanted.type))
    log.info("queue purged", queue=queue, cancelled=cancelled, more=more, by=submitter(request))
    return Answer(200, encode(Purged(cancelled, more)))


async def _set(request: Request[Any, Any, Any], name: str, door: Door, *, paused: bool) -> ASGIApp:
    queries.read(request, queries.NOTHING)
    async with door.connection() as connection:
        await _check(connection, name)
        await store.pause(connection, name, paused=paused)
        await door.bus.publish(subjects.CONTROL_ALL, subjects.LOOK)
        log.info("queue is to be paused" if paused else "queue is to be resumed", queue=name, by=submitter(request))
        return Answer(200, encode(_there(name, await _all(connection))))


def _priority(wanted: PurgeQueue) -> int | None:
    try:
        return None if wanted.priority is None else priority_of(wanted.priority)
    except ValueError as error:
        raise Invalid([FieldError("priority", str(error))]) from None


async def _check(connection: Borrowed, name: str) -> None:
    """Raises NotFound for a queue that nobody announced and that no unfinished task is in."""
    if name not in await catalogue.queues(connection):
        _there(name, await _all(connection))


def _there(name: str, found: dict[str, Queue]) -> Queue:
    if name not in found:
        known = f"; known are {', '.join(found)}" if len(found) <= FEW else ""
        raise NotFound(f"there is no queue of this name{did_you_mean(name, found)}{known}")
    return found[name]


async def _all(connection: Borrowed) -> dict[str, Queue]:
    names, depths, running = await catalogue.queues(connection), await catalogue.depths(connection), await catalogue.running(connection)
    lanes: dict[str, dict[str, Depth]] = {name: _empty() for name in names}
    for row in depths:
        depth = lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])]
        depth.ready, depth.later = row["ready"], row["later"]
    for row in running:
        lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])].running = row["running"]
    return {name: _queue(name, names.get(name, False), found) for name, found in sorted(lanes.items())}


def _empty() -> dict[str, Depth]:
    return {_lane(priority): Depth() for priority in Priority}


def _lane(priority: int) -> str:
    return Priority(priority).name.lower()


def _queue(name: str, paused: bool, lanes: dict[str, Depth]) -> Queue:
    depths = list(lanes.values())
    return Queue(name, paused, sum([d.ready for d in depths]), sum([d.later for d in depths]), sum([d.running for d in depths]), lanes)
