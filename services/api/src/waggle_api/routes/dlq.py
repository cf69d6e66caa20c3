"""`/api/dlq`: dead letters. They are read straight from Postgres; what changes them is asked of the dlq service."""

import asyncio
import time
from typing import Any, Final
from uuid import UUID

import uuid_utils
from litestar import Request, delete, get, post
from litestar.types import ASGIApp

from waggle.bus import dlq_commands, subjects
from waggle.field_errors import Findings
from waggle.redrive import DeadLetterFilter, Redrive
from waggle.store import dead_letters, redrives, tasks
from waggle.task import Status, Task
from waggle_api.callers import submitter
from waggle_api.connections import Borrowed
from waggle_api.control import dlq_asking
from waggle_api.http import answers, bodies, cursors, fields, queries
from waggle_api.http.answers import Answer, encode
from waggle_api.refusals import NotFound
from waggle_api.resources import Door
from waggle_api.routes import dlq_requests
from waggle_api.routes.dlq_requests import CleanUpDeadLetters, Matched, RetryDeadLetters

BODY_LIMIT: Final = 256 << 10
SOON: Final = 1.0  # seconds in which a small bulk retry may end before it is answered
LOOK_EVERY: Final = 0.1


@get("/dlq")
async def listing(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """A page of dead letters, without payloads: the one that died last comes first. `updated` is when it died."""
    wanted, rest = dlq_requests.filter_and_rest(queries.read(request, dlq_requests.DEAD_LETTERS))
    async with door.connection() as connection:
        found, more = await dead_letters.page(connection, wanted, rest.get("cursor"), rest.get("limit", queries.LIMIT_DEFAULT))
    return answers.items(found, dlq_requests.write_cursor(found[-1].updated, found[-1].id) if more else None)


@get("/dlq/groups")
async def groups(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Dead letters that died of the same, the largest group first."""
    wanted, rest = dlq_requests.filter_and_rest(queries.read(request, dlq_requests.GROUPS))
    async with door.connection() as connection:
        return answers.items(await dead_letters.groups(connection, wanted, rest.get("limit", queries.LIMIT_DEFAULT)))


@get("/dlq/{task_id:str}")
async def show(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """One dead letter with its payload, and with the original one when a retry replaced it."""
    queries.read(request, queries.NOTHING)
    found = _id(task_id)
    async with door.connection() as connection:
        return Answer(200, encode(_dead(await dead_letters.get(connection, found))))


@post("/dlq/{task_id:str}/retry", status_code=200)
async def retry(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """Retry one dead letter, perhaps with another payload: it becomes pending and begins anew, its attempts go on counting."""
    queries.read(request, queries.NOTHING)
    found = _id(task_id)
    payload = dlq_requests.edited_payload(await bodies.read_optional(request, dict(request.scope["headers"]), bodies.ONE_LIMIT))
    async with door.connection() as connection:
        task = _dead((await tasks.get_many(connection, [found])).get(found))
        until = dlq_asking.until(await dead_letters.now(connection))
    if payload is not None:
        findings = Findings()
        door.admission.check_payload(payload, task.type, findings)
        findings.check()
    text = None if payload is None else str(payload, "utf-8")
    command = dlq_commands.Retry(asked_by=submitter(request), until=until, id=found, payload=text)
    return Answer(200, await dlq_asking.ask(door.bus, subjects.DLQ_RETRY, command))


@delete("/dlq/{task_id:str}", status_code=200)
async def remove(request: Request[Any, Any, Any], task_id: str, door: Door) -> ASGIApp:
    """Remove one dead letter from the queue: it becomes failed, for good."""
    queries.read(request, queries.NOTHING)
    found = _id(task_id)
    async with door.connection() as connection:
        _dead((await tasks.get_many(connection, [found])).get(found))
        until = dlq_asking.until(await dead_letters.now(connection))
    command = dlq_commands.Remove(asked_by=submitter(request), until=until, id=found)
    return Answer(200, await dlq_asking.ask(door.bus, subjects.DLQ_REMOVE, command))


@post("/dlq/cleanup", status_code=200)
async def clean_up(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Clean up now: what is past its period, or over the maximum size, becomes failed."""
    queries.read(request, queries.NOTHING)
    wanted = fields.read(await bodies.read_optional(request, dict(request.scope["headers"]), BODY_LIMIT), CleanUpDeadLetters)
    async with door.connection() as connection:
        until = dlq_asking.until(await dead_letters.now(connection))
    command = dlq_commands.Cleanup(asked_by=submitter(request), until=until, older_than=wanted.older_than)
    return Answer(200, await dlq_asking.ask(door.bus, subjects.DLQ_CLEANUP, command, dlq_asking.CLEANUP_PATIENCE))


@post("/dlq/retry", status_code=202)
async def retry_many(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Retry all dead letters that match, at a rate: a bulk retry that goes on by itself and stops when what it retries fails again.

    200 when it has ended already, or was only a `dry_run`; else 202.
    """
    queries.read(request, queries.NOTHING)
    wanted = fields.read(await bodies.read_optional(request, dict(request.scope["headers"]), BODY_LIMIT), RetryDeadLetters)
    chosen = dlq_requests.filter_of(wanted)
    async with door.connection() as connection:
        if wanted.dry_run:
            return Answer(200, encode(Matched(await _count(connection, chosen))))
        until = dlq_asking.until(await dead_letters.now(connection))
    command = dlq_commands.BeginRedrive(
        asked_by=submitter(request), until=until, id=UUID(bytes=uuid_utils.uuid7().bytes), filter=chosen, rate=wanted.rate, limit=wanted.limit
    )
    await dlq_asking.ask(door.bus, subjects.DLQ_REDRIVE, command)
    begun = await _soon_ended(door, command.id)
    location = f"{request.scope['path'].removesuffix('/retry')}/retries/{begun.id}"
    return Answer(202 if begun.state == "running" else 200, encode(begun), (b"location", location.encode()))


@get("/dlq/retries")
async def redrive_listing(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """A page of bulk retries, the newest first."""
    given = queries.read(request, dlq_requests.REDRIVES)
    async with door.connection() as connection:
        found, more = await redrives.page(connection, given.get("cursor"), given.get("limit", queries.LIMIT_DEFAULT))
    return answers.items(found, cursors.write(found[-1].id) if more else None)


@get("/dlq/retries/{redrive_id:str}")
async def show_redrive(request: Request[Any, Any, Any], redrive_id: str, door: Door) -> ASGIApp:
    """One bulk retry, and how far it is."""
    queries.read(request, queries.NOTHING)
    found = _redrive_id(redrive_id)
    async with door.connection() as connection:
        return Answer(200, encode(_there(await redrives.get(connection, found))))


@delete("/dlq/retries/{redrive_id:str}", status_code=200)
async def cancel_redrive(request: Request[Any, Any, Any], redrive_id: str, door: Door) -> ASGIApp:
    """Stop a bulk retry; what it has retried goes on. Stopping it again is fine."""
    queries.read(request, queries.NOTHING)
    found = _redrive_id(redrive_id)
    async with door.connection() as connection:
        until = dlq_asking.until(await dead_letters.now(connection))
    command = dlq_commands.CancelRedrive(asked_by=submitter(request), until=until, id=found)
    return Answer(200, await dlq_asking.ask(door.bus, subjects.DLQ_CANCEL, command))


async def _count(connection: Borrowed, wanted: DeadLetterFilter) -> int:
    async with connection.transaction(readonly=True):
        return await dead_letters.count(connection, wanted)


async def _soon_ended(door: Door, redrive_id: UUID) -> Redrive:
    """A redrive once it has ended, or as it is after a second."""
    deadline = time.monotonic() + SOON
    while True:
        async with door.connection() as connection:
            found = _there(await redrives.get(connection, redrive_id))
        if found.state != "running" or time.monotonic() > deadline:
            return found
        await asyncio.sleep(LOOK_EVERY)


def _dead(task: Task | None) -> Task:
    """Raises NotFound for what is no dead letter."""
    if task is None:
        raise NotFound("there is no task with this id")
    if task.status is not Status.DEAD_LETTER:
        raise NotFound(f"there is no dead letter with this id: the task is {task.status}")
    return task


def _there(found: Redrive | None) -> Redrive:
    if found is None:
        raise NotFound("there is no bulk retry with this id")
    return found


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("there is no dead letter with this id: ids are UUIDs") from None


def _redrive_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("there is no bulk retry with this id: ids are UUIDs") from None
