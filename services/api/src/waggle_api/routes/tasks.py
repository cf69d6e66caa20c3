"""`/api/tasks`: create, read, list, cancel, delete."""

import hashlib
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import structlog
from litestar import Request, delete, get, post
from litestar.types import ASGIApp

from waggle import errors
from waggle.bus import subjects
from waggle.errors import ShownError
from waggle.store import lists, tasks
from waggle.store.idempotency import Key
from waggle.store.tasks import Cancelled, NewTask
from waggle.task import FINAL, AttemptOutcome, Status, Task
from waggle_api.callers import submitter
from waggle_api.http import answers, bodies, cursors, queries
from waggle_api.http.answers import Answer, encode
from waggle_api.refusals import Conflict, NotFound, Unavailable
from waggle_api.resources import Door
from waggle_api.routes import parameters

log = structlog.get_logger()

REPLAYED: Final = (b"idempotent-replayed", b"true")
CANCEL_TRIES: Final = 3


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ended attempt of a task."""

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime
    outcome: AttemptOutcome
    error: ShownError | None = None


@post("/tasks")
async def create(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Create one task: 201; 200 when its key or its unique key led to one that is there already."""
    queries.read(request, queries.NOTHING)
    headers = dict(request.scope["headers"])
    body = await bodies.read(request, headers, bodies.ONE_LIMIT)
    who = submitter(request)
    wanted = await door.admission.one(body, who)
    accepted = await door.committer.submit(wanted, _key(headers, who, b"task", body, wanted))
    task = accepted.tasks[0]
    location = (b"location", f"{request.scope['path']}/{task.id}".encode())
    return Answer(201 if accepted.created else 200, encode(task), location, *_replayed(accepted.replayed))


@post("/tasks/batch")
async def create_batch(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Create up to 1,000 tasks, all or none: 201; 200 when all of them are there already."""
    queries.read(request, queries.NOTHING)
    headers = dict(request.scope["headers"])
    body = await bodies.read(request, headers, bodies.BATCH_LIMIT)
    who = submitter(request)
    wanted = await door.admission.many(body, who)
    accepted = await door.committer.submit(wanted, _key(headers, who, b"batch", body, wanted))
    return Answer(201 if accepted.created else 200, encode(answers.Page(accepted.tasks)), *_replayed(accepted.replayed))


@get("/tasks")
async def listing(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """A page of tasks, the newest first, without payloads."""
    given = queries.read(request, parameters.TASKS)
    most, before = given.pop("limit", queries.LIMIT_DEFAULT), given.pop("cursor", None)
    filters = lists.Filters(statuses=given.pop("status", None), types=given.pop("type", None), **given)
    async with door.connection() as connection:
        found, on = await lists.page(connection, filters, before, most)
    return answers.items(found, None if on is None else cursors.write(on))


@get("/tasks/{task_id:str}")
async def show(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """One task, with its payload; with `?wait=SECONDS` as soon as it is at rest."""
    seconds = queries.read(request, parameters.ONE_TASK).get("wait", 0.0)
    found = _id(task_id)
    if seconds:
        return answers.ok(_there(await door.waits.task_at_rest(found, seconds, request.receive)))
    async with door.connection() as connection:
        return answers.ok(_there(await tasks.get(connection, found)))


@get("/tasks/{task_id:str}/attempts")
async def timeline(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """The ended attempts of a task, the first one first."""
    queries.read(request, queries.NOTHING)
    found = _id(task_id)
    async with door.connection() as connection:
        rows = await tasks.attempts(connection, found)
        if not rows:
            _there((await tasks.get_many(connection, [found])).get(found))
    return answers.items([_attempt(row) for row in rows])


@delete("/tasks/{task_id:str}", status_code=200)
async def cancel(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """Cancel a task that has not ended: final at once. Cancelling it again is fine.

    With `?purge=true` delete a finished task instead: 204. Its idempotency key stays taken.
    """
    purge = queries.read(request, parameters.CANCEL).get("purge", False)
    return await (_purge if purge else _cancel)(_id(task_id), door)


async def _cancel(found: UUID, door: Door) -> Answer:
    for _ in range(CANCEL_TRIES):
        async with door.connection() as connection:
            cancelled = await tasks.cancel(connection, found)
            if cancelled is not None:
                await _tell(door, cancelled)
            task = _there(await tasks.get(connection, found))
        match task.status:
            case Status.CANCELLED:
                return answers.ok(task)
            case Status.COMPLETED | Status.FAILED:
                raise Conflict(f"the task has ended already: {task.status}")
            case Status.DEAD_LETTER:
                raise Conflict("the task is a dead letter: it is not run any more")
            case Status.PENDING | Status.RUNNING:  # it came back from the dead letter queue between the two statements
                continue
    raise Unavailable("the task changes too fast: repeat the request", retry_after=1)


async def _purge(found: UUID, door: Door) -> Answer:
    for _ in range(CANCEL_TRIES):
        async with door.connection() as connection:
            if await tasks.delete(connection, found):
                log.info("task deleted", task_id=str(found))
                return answers.nothing()
            status = _there((await tasks.get_many(connection, [found])).get(found)).status
        if status not in FINAL:  # else it ended between the two statements
            raise Conflict(f"only a finished task can be deleted, this one is {'a dead letter' if status is Status.DEAD_LETTER else status}")
    raise Unavailable("the task changes too fast: repeat the request", retry_after=1)


async def _tell(door: Door, cancelled: Cancelled) -> None:
    """Let its worker stop, and those who wait look."""
    if cancelled.was is Status.RUNNING and cancelled.worker_id is not None:
        await door.bus.publish(subjects.control(cancelled.worker_id), subjects.command([(cancelled.id, cancelled.attempt)]))
    await door.bus.publish(subjects.SETTLED, subjects.settled([(cancelled.id, Status.CANCELLED)]))


def _key(headers: dict[bytes, bytes], who: str, route: bytes, body: bytes, wanted: list[NewTask]) -> Key | None:
    """The idempotency key of a request; bodies that mean the same have one hash, however they are written. Raises Malformed."""
    key = bodies.idempotency_key(headers)
    if key is None:
        return None
    canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    return Key(who, key, hashlib.sha256(route + b"\n" + canonical).digest(), tuple([new.id for new in wanted]))


def _replayed(replayed: bool) -> list[tuple[bytes, bytes]]:
    return [REPLAYED] if replayed else []


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("there is no task with this id: ids are UUIDs") from None


def _there(task: Task | None) -> Task:
    if task is None:
        raise NotFound("there is no task with this id")
    return task


def _attempt(row: asyncpg.Record) -> Attempt:
    error = None if row["error"] is None else errors.stored(row["error"]).shown()
    return Attempt(row["attempt"], row["worker_id"], row["started_at"], row["ended_at"], AttemptOutcome(row["outcome"]), error)
