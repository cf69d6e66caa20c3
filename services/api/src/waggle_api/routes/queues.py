"""`/api/queues`: depths, pause and resume, figures, purge. A pause is a row in Postgres; workers are notified, and poll as a fallback."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.bus import subjects
from waggle.field_errors import FieldError, Invalid, did_you_mean
from waggle.scopes import Scope
from waggle.store import catalogue
from waggle.store import queues as store
from waggle.store.client import PooledConnection
from waggle.submission import PriorityOrName, parse_priority
from waggle.task import TYPE_LENGTH, TYPE_PATTERN, Priority
from waggle_api.caller import Caller
from waggle_api.control import purging
from waggle_api.control.purging import PurgeFilter
from waggle_api.http import answers, bodies
from waggle_api.http.answers import Page
from waggle_api.http.routing import Group
from waggle_api.refusals import Forbidden, NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts, parameters

LISTED_NAMES: Final = 10
WINDOW_SECONDS: Final = 3600.0
PURGE_BYTES: Final = 64 << 10

ROUTES: Final = Group("Queues, workers, types", {"queue": parameters.QUEUE})


class Depth(msgspec.Struct):
    """`ready`: tasks that may run now; `later`: tasks whose time has not come; `running`: tasks that run."""

    ready: int = 0
    later: int = 0
    running: int = 0


class Queue(msgspec.Struct):
    """A queue: its totals, and its lanes by the names of their priorities."""

    name: str
    paused: bool
    ready: int
    later: int
    running: int
    lanes: dict[str, Depth]


class QueueStats(msgspec.Struct, kw_only=True):
    """The figures of a queue, for tasks created since `since`; `window` is the time covered. `window` and `processing_time` are in seconds."""

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
    """Which waiting tasks to cancel; all of the queue if no field is given."""

    priority: PriorityOrName | None = None
    type: Annotated[str, Meta(pattern=TYPE_PATTERN, max_length=TYPE_LENGTH)] | None = None


class Purged(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many waiting tasks were cancelled; `more` is true if the time of the request ran out before all were."""

    cancelled: int
    more: bool = False


@ROUTES.route("GET", "/queues", name="queues_listing", scope=Scope.TASKS_READ, limited=True, answers={200: Page[Queue]})
async def list_queues(call: Call) -> ASGIApp:
    """Every known queue, and those that hold tasks although no worker announced them."""
    async with call.resources.connection() as connection:
        return answers.page(list((await _all(connection, call.caller)).values()))


@ROUTES.route("GET", "/queues/{queue}", name="queues_show", scope=Scope.TASKS_READ, limited=True, answers={200: Queue})
async def get_queue(call: Call, queue: str) -> ASGIApp:
    """One queue."""
    async with call.resources.connection() as connection:
        return answers.ok(_existing(queue, await _all(connection, call.caller)))


@ROUTES.route("POST", "/queues/{queue}/pause", name="queues_pause", scope=Scope.QUEUES_WRITE, limited=True, answers={200: Queue})
async def pause_queue(call: Call, queue: str) -> ASGIApp:
    """Pause a queue: within a second its workers start none of its tasks; running ones continue, new ones wait. Repeating it is harmless."""
    return await _set_paused(call, queue, paused=True)


@ROUTES.route("POST", "/queues/{queue}/resume", name="queues_resume", scope=Scope.QUEUES_WRITE, limited=True, answers={200: Queue})
async def resume_queue(call: Call, queue: str) -> ASGIApp:
    """Resume a paused queue. Repeating it is harmless."""
    return await _set_paused(call, queue, paused=False)


@ROUTES.route("GET", "/queues/{queue}/stats", name="queues_stats", scope=Scope.TASKS_READ, limited=True, query=parameters.STATS, answers={200: QueueStats})
async def get_stats(call: Call, queue: str, window: float = WINDOW_SECONDS) -> ASGIApp:
    """The figures of a queue over a time window, or over the part of it that the newest 100,000 tasks of all queues cover: see `since`."""
    async with call.resources.connection() as connection:
        await _check(connection, queue, call.caller)
        row = await store.stats(connection, queue, window)
    return answers.ok(QueueStats(queue=queue, **row))


@ROUTES.route(
    "POST",
    "/queues/{queue}/purge",
    name="queues_purge",
    scope=Scope.QUEUES_WRITE,
    limited=True,
    body=bodies.of_fields(PurgeQueue, PURGE_BYTES),
    answers={200: Purged},
)
async def purge_queue(call: Call, queue: str, body: PurgeQueue) -> ASGIApp:
    """Cancel the waiting tasks of a queue, in batches; running ones continue.

    Tasks that arrive meanwhile are not affected. With very many tasks it may return before it is done: then `more` is true, and a repeated request continues.
    """
    priority = _priority(body)
    if call.caller.types is not None:
        if body.type is None:
            raise Forbidden("your key is limited to some types: name one of them with `type`")
        call.caller.check_type(body.type)
    async with call.resources.connection() as connection:
        await _check(connection, queue, call.caller)
        cancelled, more = await purging.purge(connection, call.resources.bus, PurgeFilter(queue, priority, body.type), call.caller.name)
        await acts.record(call, connection, "queue.purge", queue, after={"cancelled": cancelled, "more": more, "type": body.type, "priority": priority})
    return answers.ok(Purged(cancelled, more))


async def _set_paused(call: Call, name: str, *, paused: bool) -> ASGIApp:
    if call.caller.types is not None:
        raise Forbidden("a queue is paused for all its types, and your key is limited to some")
    async with call.resources.connection() as connection:
        await _check(connection, name, call.caller)
        async with connection.transaction():
            await store.pause(connection, name, paused=paused)
            await acts.record(call, connection, "queue.pause" if paused else "queue.resume", name)
        await call.resources.bus.publish(subjects.CONTROL_ALL, subjects.RELOAD_PAUSES)
        return answers.ok(_existing(name, await _all(connection, call.caller)))


def _priority(wanted: PurgeQueue) -> int | None:
    try:
        return None if wanted.priority is None else parse_priority(wanted.priority)
    except ValueError as error:
        raise Invalid([FieldError("priority", str(error))]) from None


async def _check(connection: PooledConnection, name: str, caller: Caller) -> None:
    """Raises NotFound for a queue that no worker announced and that holds no unfinished task, or that does not exist for this caller."""
    if (caller.queues is not None and name not in caller.queues) or name not in await catalogue.queues(connection):
        _existing(name, await _all(connection, caller))


def _existing(name: str, found: dict[str, Queue]) -> Queue:
    if name not in found:
        known = f"; known are {', '.join(found)}" if len(found) <= LISTED_NAMES else ""
        raise NotFound(f"there is no queue with this name{did_you_mean(name, found)}{known}")
    return found[name]


async def _all(connection: PooledConnection, caller: Caller) -> dict[str, Queue]:
    """The queues that exist for this caller."""
    names, depths, running = await catalogue.queues(connection), await catalogue.depths(connection), await catalogue.running(connection)
    lanes: dict[str, dict[str, Depth]] = {name: _empty() for name in names}
    for row in depths:
        depth = lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])]
        depth.ready, depth.later = row["ready"], row["later"]
    for row in running:
        lanes.setdefault(row["queue"], _empty())[_lane(row["priority"])].running = row["running"]
    return {name: _queue(name, names.get(name, False), found) for name, found in sorted(lanes.items()) if caller.queues is None or name in caller.queues}


def _empty() -> dict[str, Depth]:
    return {_lane(priority): Depth() for priority in Priority}


def _lane(priority: int) -> str:
    return Priority(priority).name.lower()


def _queue(name: str, paused: bool, lanes: dict[str, Depth]) -> Queue:
    depths = list(lanes.values())
    return Queue(name, paused, sum([d.ready for d in depths]), sum([d.later for d in depths]), sum([d.running for d in depths]), lanes)
