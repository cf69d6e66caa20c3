"""`/api/tasks`: create, read, list, cancel, delete."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from litestar.types import ASGIApp

from waggle import errors
from waggle.errors import ShownError
from waggle.field_errors import FieldError, FieldErrors, Invalid
from waggle.scopes import Scope
from waggle.store import lists, tasks
from waggle.store.lists import RestPlace
from waggle.submission import Batch, CreateTask, Submission, Tasks, read_batch, read_task
from waggle.task import AT_REST, AttemptOutcome, Task
from waggle_api.caller import Caller
from waggle_api.control import cancelling
from waggle_api.edge import narrow, shown
from waggle_api.edge.shown import existing
from waggle_api.http import answers, cursors, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.bodies import Body
from waggle_api.http.routing import Group
from waggle_api.resources import Call
from waggle_api.routes import parameters, seen
from waggle_api.submit.insertion import Accepted

ONE_TASK_BYTES: Final = 2 << 20
BATCH_BYTES: Final = 16 << 20
Cursor = UUID | tuple[datetime, UUID]
NOT_OF_RESTED: Final = frozenset({"created_from", "created_to", "metadata"})
REPLAYED: Final = (b"idempotent-replayed", b"true")

ROUTES: Final = Group("Tasks", {"task_id": parameters.TASK_ID})


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ended attempt of a task."""

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime
    outcome: AttemptOutcome
    error: ShownError | None = None


@ROUTES.route(
    "POST",
    "/tasks",
    name="tasks_create",
    scope=Scope.TASKS_WRITE,
    limited=True,
    body=Body(CreateTask, read_task, ONE_TASK_BYTES),
    keyed=True,
    answers={201: Task, 200: Task},
    headers={201: ("Location",), 200: ("Location",)},
    links=dict.fromkeys(("tasks_show", "tasks_timeline", "tasks_cancel"), ("task_id", "id")),
)
async def create_task(call: Call, body: Submission, key: str | None) -> ASGIApp:
    """Create one task: 201; 200 if its key or its unique key led to an existing one."""
    accepted = await call.resources.intake.accept(body, call.caller, key)
    task = accepted.tasks[0]
    location = (b"location", f"{call.path}/{task.id}".encode())
    return EncodedResponse(_status(accepted), encode(seen.one(call, task)), location, *_replayed(accepted))


@ROUTES.route(
    "POST",
    "/tasks/batch",
    name="tasks_create_batch",
    scope=Scope.TASKS_WRITE,
    limited=True,
    body=Body(Batch | Tasks, read_batch, BATCH_BYTES),
    keyed=True,
    answers={201: Page[Task], 200: Page[Task]},
)
async def create_tasks(call: Call, body: Submission, key: str | None) -> ASGIApp:
    """Create up to 1,000 tasks, all or none: 201; 200 if all of them existed already."""
    if call.resources.identity is not None:
        await call.resources.rates.admit(call.resources.policies.tasks, call.caller.name, len(body.tasks))
    accepted = await call.resources.intake.accept(body, call.caller, key)
    return EncodedResponse(_status(accepted), encode(Page(seen.each(call, accepted.tasks))), *_replayed(accepted))


@ROUTES.route("GET", "/tasks", name="tasks_listing", scope=Scope.TASKS_READ, limited=True, query=parameters.TASKS, answers={200: Page[Task]})
async def list_tasks(
    call: Call, limit: int = queries.PAGE_DEFAULT, cursor: Cursor | None = None, updated_after: datetime | None = None, **given: Any
) -> ASGIApp:
    """A page of tasks, the newest first, without payloads.

    With `updated_after` those that came to rest since (completed, failed, cancelled or a dead letter), the first of them first. Then there is always a
    `next_cursor`: go on with it, and later once a page is `caught_up`. What came to rest in the last 30 s is listed again, so that nothing is missed.
    """
    if updated_after is not None or isinstance(cursor, tuple):
        return await _list_rested(call, limit, _place(cursor, updated_after), given)
    wanted = narrow.to_reach(call.caller, given.pop("type", None), given.pop("queue", None))
    if wanted is None:
        return answers.page([])
    filters = lists.Filters(statuses=given.pop("status", None), types=wanted.types, queue=wanted.queue, queues=wanted.queues, **given)
    async with call.resources.connection() as connection:
        found, last = await lists.page(connection, filters, cursor, limit)
    return answers.page(seen.each(call, found), None if last is None else cursors.write(last))


@ROUTES.route("GET", "/tasks/{task_id}", name="tasks_show", scope=Scope.TASKS_READ, limited=True, query=parameters.ONE_TASK, answers={200: Task})
async def get_task(call: Call, task_id: UUID, wait: float = 0.0) -> ASGIApp:
    """One task, with its payload; with `?wait=SECONDS` as soon as it has ended or is a dead letter."""
    if wait:
        await _check_reach(call, task_id)
        found = await call.resources.waits.task_at_rest(task_id, wait, call.request.receive)
    else:
        async with call.resources.connection() as connection:
            found = await tasks.get(connection, task_id)
    return answers.ok(seen.one(call, existing(call.caller, found)))


@ROUTES.route(
    "GET",
    "/tasks/{task_id}/attempts",
    name="tasks_timeline",
    scope=Scope.TASKS_READ,
    limited=True,
    query=parameters.ATTEMPTS,
    answers={200: Page[Attempt]},
)
async def list_attempts(call: Call, task_id: UUID, limit: int = queries.PAGE_DEFAULT, cursor: tuple[int, int] | None = None, after_attempt: int = 0) -> ASGIApp:
    """A page of the ended attempts of a task, the first one first. Of an error, details of more than 4 KiB are left out."""
    after = after_attempt if cursor is None else cursor[0]
    async with call.resources.connection() as connection:
        rows = await tasks.attempts(connection, task_id, after, limit + 1)
        if not rows or call.caller.is_limited:
            existing(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))
    more = cursors.write_step(rows[limit - 1]["attempt"], 0) if len(rows) > limit else None
    return answers.page([_attempt(row, call.caller) for row in rows[:limit]], more)


@ROUTES.route(
    "DELETE",
    "/tasks/{task_id}",
    name="tasks_cancel",
    scope=Scope.TASKS_WRITE,
    limited=True,
    query=parameters.CANCEL,
    answers={200: Task, 204: None},
    refuses=(409,),
)
async def cancel_task(call: Call, task_id: UUID, purge: bool = False) -> ASGIApp:
    """Cancel a task that has not ended: final at once. Cancelling it again is harmless.

    With `?purge=true` delete a finished task instead: 204. Its idempotency key stays taken.
    """
    await _check_reach(call, task_id)
    if purge:
        await cancelling.delete(call.resources.connection, task_id)
        return answers.no_content()
    return answers.ok(seen.one(call, await cancelling.cancel(call.resources.connection, call.resources.bus, task_id, call.caller.name)))


async def _list_rested(call: Call, limit: int, after: RestPlace, given: dict[str, Any]) -> ASGIApp:
    """Raises Invalid for filters that this list does not have."""
    errors = FieldErrors()
    for name in sorted(given.keys() & NOT_OF_RESTED):
        errors.add(name, "cannot be combined with updated_after")
    for status in given.get("status") or ():
        if status not in AT_REST:
            errors.add("status", f"{status} tasks are not at rest: updated_after lists completed, failed, cancelled and dead_letter")
    errors.check()
    wanted = narrow.to_reach(call.caller, given.pop("type", None), given.pop("queue", None))
    if wanted is None:
        return answers.page([], cursors.write_place(*after), caught_up=True)
    filters = lists.Filters(statuses=given.pop("status", None), types=wanted.types, queue=wanted.queue, queues=wanted.queues, **given)
    async with call.resources.connection() as connection:
        found = await lists.rested(connection, filters, after, limit)
    return answers.page(seen.each(call, found.tasks), cursors.write_place(*found.place), caught_up=not found.more)


def _place(cursor: Cursor | None, updated_after: datetime | None) -> RestPlace:
    if isinstance(cursor, tuple):
        return RestPlace(*cursor)
    if cursor is not None:
        raise Invalid([FieldError("cursor", "is not a cursor of this list: pass its own next_cursor")])
    assert updated_after is not None
    return RestPlace(updated_after, lists.LAST)


async def _check_reach(call: Call, task_id: UUID) -> None:
    """Raises NotFound for a task that does not exist for this caller."""
    if call.caller.is_limited:
        async with call.resources.connection() as connection:
            existing(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))


def _status(accepted: Accepted) -> int:
    return 201 if accepted.created else 200


def _replayed(accepted: Accepted) -> list[tuple[bytes, bytes]]:
    return [REPLAYED] if accepted.replayed else []


def _attempt(row: asyncpg.Record, caller: Caller) -> Attempt:
    error = None if row["error"] is None else shown.shown_error(caller, errors.stored(row["error"]).shown())
    return Attempt(row["attempt"], row["worker_id"], row["started_at"], row["ended_at"], AttemptOutcome(row["outcome"]), error)
