"""`/api/dlq`: dead letters. They are read from Postgres; the dlq service carries out what changes them."""

import asyncio
import time
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import uuid_utils
from litestar.types import ASGIApp

from waggle import secret_fields
from waggle.bus import dlq_commands, subjects
from waggle.bus.dlq_commands import Cleaned
from waggle.field_errors import FieldErrors
from waggle.payload_changes import PayloadChanges
from waggle.redrive import DeadLetterFilter, Redrive
from waggle.scopes import Scope
from waggle.store import dead_letters, redrives, tasks
from waggle.store.client import PooledConnection
from waggle.store.dead_letters import DeadLetter, DeadLetterGroup
from waggle.task import Status, Task
from waggle_api.caller import Caller
from waggle_api.control import dlq_client
from waggle_api.edge import narrow, shown
from waggle_api.http import answers, bodies, cursors, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.bodies import Body
from waggle_api.http.routing import Group
from waggle_api.refusals import Forbidden, NotFound
from waggle_api.resources import Call, Resources
from waggle_api.routes import acts, dlq_changes, dlq_inputs, parameters, seen
from waggle_api.routes.dlq_inputs import CleanUpDeadLetters, Matched, RetryDeadLetter, RetryDeadLetters
from waggle_api.routes.tasks import ONE_TASK_BYTES

T = TypeVar("T", bound=Task)

FILTER_BYTES: Final = 256 << 10
REDRIVE_ANSWER_SECONDS: Final = 1.0  # a small bulk retry may end before its request is answered
REDRIVE_POLL_SECONDS: Final = 0.1

ROUTES: Final = Group("Dead letters", {"task_id": parameters.DEAD_LETTER_ID, "redrive_id": parameters.REDRIVE_ID})


@ROUTES.route("GET", "/dlq", name="dlq_listing", scope=Scope.DLQ_READ, limited=True, query=dlq_inputs.DEAD_LETTERS, answers={200: Page[Task]})
async def list_dead_letters(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: Any = None, **filters: Any) -> ASGIApp:
    """A page of dead letters, without payloads: the one that died last comes first. `updated` is when it died."""
    wanted, queues = _in_reach(call.caller, filters)
    if wanted is None:
        return answers.page([])
    async with call.resources.connection() as connection:
        found, more = await dead_letters.page(connection, wanted, cursor, limit, queues)
    return answers.page(seen.each(call, found), dlq_inputs.write_cursor(found[-1].updated, found[-1].id) if more else None)


@ROUTES.route("GET", "/dlq/groups", name="dlq_groups", scope=Scope.DLQ_READ, limited=True, query=dlq_inputs.GROUPS, answers={200: Page[DeadLetterGroup]})
async def list_groups(call: Call, limit: int = queries.PAGE_DEFAULT, **filters: Any) -> ASGIApp:
    """Dead letters grouped by what they died of, the largest group first."""
    wanted, queues = _in_reach(call.caller, filters)
    if wanted is None:
        return answers.page([])
    async with call.resources.connection() as connection:
        found = await dead_letters.groups(connection, wanted, limit, queues)
    return answers.page(found if call.caller.sees_payloads else [msgspec.structs.replace(group, message=None, hidden=["message"]) for group in found])


@ROUTES.route("GET", "/dlq/{task_id}", name="dlq_show", scope=Scope.DLQ_READ, limited=True, answers={200: DeadLetter})
async def get_dead_letter(call: Call, task_id: UUID) -> ASGIApp:
    """One dead letter with its payload, and with the original payload if a retry replaced it."""
    async with call.resources.connection() as connection:
        return answers.ok(seen.one(call, _dead(call.caller, await dead_letters.get(connection, task_id))))


@ROUTES.route(
    "POST",
    "/dlq/{task_id}/retry",
    name="dlq_retry",
    scope=Scope.DLQ_WRITE,
    limited=True,
    body=Body(RetryDeadLetter, dlq_inputs.edited_payload, ONE_TASK_BYTES, required=False, may_be_empty=True),
    answers={200: Task},
    refuses=(409,),
)
async def retry_dead_letter(call: Call, task_id: UUID, body: msgspec.Raw | None) -> ASGIApp:
    """Retry one dead letter, optionally with another payload: it becomes pending with all its tries, and its attempts continue to count."""
    async with call.resources.connection() as connection:
        task = _dead(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))
        until = dlq_client.until(await dead_letters.now(connection))
    if body is not None:
        body = await _restored(call, task, body)
        errors = FieldErrors()
        call.resources.intake.admission.check_payload(body, task.type, errors)
        errors.check()
    text = None if body is None else str(body, "utf-8")
    command = dlq_commands.RetryTask(asked_by=call.caller.name, until=until, id=task_id, payload=text)
    return _answered(call, await dlq_client.request(call.resources.bus, subjects.DLQ_RETRY, command))


@ROUTES.route("DELETE", "/dlq/{task_id}", name="dlq_remove", scope=Scope.DLQ_WRITE, limited=True, answers={200: Task})
async def remove_dead_letter(call: Call, task_id: UUID) -> ASGIApp:
    """Remove one dead letter from the queue: it becomes failed, for good."""
    async with call.resources.connection() as connection:
        _dead(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))
        until = dlq_client.until(await dead_letters.now(connection))
    command = dlq_commands.RemoveTask(asked_by=call.caller.name, until=until, id=task_id)
    return _answered(call, await dlq_client.request(call.resources.bus, subjects.DLQ_REMOVE, command))


@ROUTES.route(
    "POST", "/dlq/cleanup", name="dlq_clean_up", scope=Scope.DLQ_WRITE, body=bodies.of_fields(CleanUpDeadLetters, FILTER_BYTES), answers={200: Cleaned}
)
async def clean_up(call: Call, body: CleanUpDeadLetters) -> ASGIApp:
    """Clean up now: what exceeds the retention period or the maximum size becomes failed."""
    async with call.resources.connection() as connection:
        until = dlq_client.until(await dead_letters.now(connection))
    command = dlq_commands.CleanUp(asked_by=call.caller.name, until=until, older_than=body.older_than)
    answer = await dlq_client.request(call.resources.bus, subjects.DLQ_CLEANUP, command, dlq_client.CLEANUP_TIMEOUT_SECONDS)
    await acts.record_alone(call, "dlq.cleanup", "dlq", after={"older_than": body.older_than})
    return EncodedResponse(200, answer)


@ROUTES.route(
    "POST",
    "/dlq/retry",
    name="dlq_retry_many",
    scope=Scope.DLQ_WRITE,
    limited=True,
    body=bodies.of_fields(RetryDeadLetters, FILTER_BYTES, required=True),
    answers={202: Redrive, 200: [Redrive, Matched]},
    headers={202: ("Location",)},
)
async def retry_many(call: Call, body: RetryDeadLetters) -> ASGIApp:
    """Retry all dead letters that match, at a rate. This bulk retry continues by itself, and stops if what it retries fails again.

    200 if it has ended already, or was only a `dry_run`; otherwise 202.
    """
    chosen = _check_text(call.caller, dlq_inputs.filter_of(body))
    if call.caller.is_limited:
        narrowed = narrow.to_one_queue(call.caller, chosen.type, chosen.queue)
        chosen = msgspec.structs.replace(chosen, type=narrowed.types, queue=narrowed.queue)
    async with call.resources.connection() as connection:
        if body.dry_run:
            return answers.ok(await _dry_run(call, connection, chosen, body.changes))
        until = dlq_client.until(await dead_letters.now(connection))
    command = dlq_commands.BeginRedrive(
        asked_by=call.caller.name, until=until, id=UUID(bytes=uuid_utils.uuid7().bytes), filter=chosen, rate=body.rate, limit=body.limit
    )
    changed = {}
    if body.changes is None:
        await dlq_client.request(call.resources.bus, subjects.DLQ_REDRIVE, command)
    else:
        changing = dlq_commands.BeginChangingRedrive(**msgspec.structs.asdict(command), changes=body.changes)
        await dlq_client.request(call.resources.bus, subjects.DLQ_CHANGING_REDRIVE, changing)
        changed = {"changed": sorted({*body.changes.set, *body.changes.copy, *body.changes.drop})}  # their values may be secret
    await acts.record_alone(call, "dlq.retry", str(command.id), after=msgspec.to_builtins(chosen) | changed)
    begun = dlq_changes.shown(call, await _ended_soon(call.resources, command.id))
    location = f"{call.path.removesuffix('/retry')}/retries/{begun.id}"
    return EncodedResponse(202 if begun.state == "running" else 200, encode(begun), (b"location", location.encode()))


@ROUTES.route("GET", "/dlq/retries", name="dlq_redrive_listing", scope=Scope.DLQ_READ, query=dlq_inputs.REDRIVES, answers={200: Page[Redrive]})
async def list_redrives(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: UUID | None = None) -> ASGIApp:
    """A page of bulk retries, the newest first."""
    async with call.resources.connection() as connection:
        found, more = await redrives.page(connection, cursor, limit)
    return answers.page([dlq_changes.shown(call, each) for each in found], cursors.write(found[-1].id) if more else None)


@ROUTES.route("GET", "/dlq/retries/{redrive_id}", name="dlq_show_redrive", scope=Scope.DLQ_READ, limited=True, answers={200: Redrive})
async def get_redrive(call: Call, redrive_id: UUID) -> ASGIApp:
    """One bulk retry and its progress."""
    async with call.resources.connection() as connection:
        return answers.ok(dlq_changes.shown(call, _own(call.caller, await redrives.get(connection, redrive_id))))


@ROUTES.route("DELETE", "/dlq/retries/{redrive_id}", name="dlq_cancel_redrive", scope=Scope.DLQ_WRITE, limited=True, answers={200: Redrive}, refuses=(409,))
async def cancel_redrive(call: Call, redrive_id: UUID) -> ASGIApp:
    """Stop a bulk retry; tasks that it has retried continue. Stopping it again is harmless."""
    async with call.resources.connection() as connection:
        if call.caller.is_limited:
            _own(call.caller, await redrives.get(connection, redrive_id))
        until = dlq_client.until(await dead_letters.now(connection))
    command = dlq_commands.CancelRedrive(asked_by=call.caller.name, until=until, id=redrive_id)
    answer = await dlq_client.request(call.resources.bus, subjects.DLQ_CANCEL, command)
    return answers.ok(dlq_changes.shown(call, msgspec.json.decode(answer, type=Redrive)))


async def _dry_run(call: Call, connection: PooledConnection, wanted: DeadLetterFilter, changes: PayloadChanges | None) -> Matched:
    async with connection.transaction(readonly=True):
        matched = await dead_letters.count(connection, wanted)
        first = None if changes is None else await dlq_changes.examples(call, connection, wanted, changes)
    return Matched(matched, dry_run=True, first=first)


async def _ended_soon(resources: Resources, redrive_id: UUID) -> Redrive:
    """A redrive once it has ended, or after REDRIVE_ANSWER_SECONDS as it is then."""
    deadline = time.monotonic() + REDRIVE_ANSWER_SECONDS
    while True:
        async with resources.connection() as connection:
            found = _existing(await redrives.get(connection, redrive_id))
        if found.state != "running" or time.monotonic() > deadline:
            return found
        await asyncio.sleep(REDRIVE_POLL_SECONDS)


async def _restored(call: Call, task: Task, body: msgspec.Raw) -> msgspec.Raw:
    """The new payload of a retry, with the task's own values where it holds the mask of a secret: whoever edits a payload saw only that."""
    schema = call.resources.intake.admission.secrets(task.type)
    if schema is None:
        return body
    async with call.resources.connection() as connection:
        dead = _dead(call.caller, await dead_letters.get(connection, task.id))
    assert dead.payload is not None
    return msgspec.Raw(secret_fields.restored_text(bytes(body), bytes(dead.payload), schema))


def _in_reach(caller: Caller, filters: dict[str, Any]) -> tuple[DeadLetterFilter | None, list[str] | None]:
    """The filter, narrowed to what this caller may see, and their queues if they are several; no filter if that is nothing."""
    wanted = narrow.to_reach(caller, filters.pop("type", None), filters.pop("queue", None))
    if wanted is None:
        return None, None
    return _check_text(caller, DeadLetterFilter(type=wanted.types, queue=wanted.queue, **filters)), wanted.queues


def _check_text(caller: Caller, wanted: DeadLetterFilter) -> DeadLetterFilter:
    """Raises Forbidden for who asks about messages that they may not see: what matches would tell them."""
    if wanted.text is not None and not caller.sees_payloads:
        raise Forbidden("to filter by the text of errors needs the scope payloads:read, which you do not have")
    return wanted


def _answered(call: Call, answer: bytes) -> EncodedResponse:
    """The answer of the dlq service, a task as JSON, as this caller sees it."""
    task = msgspec.json.decode(answer, type=Task)
    return EncodedResponse(200, encode(seen.one(call, task)))


def _dead(caller: Caller, task: T | None) -> T:
    """Raises NotFound for a task that is not a dead letter, or that does not exist for this caller."""
    task = shown.existing(caller, task)
    if task.status is not Status.DEAD_LETTER:
        raise NotFound(f"there is no dead letter with this id: the task is {task.status}")
    return task


def _own(caller: Caller, found: Redrive | None) -> Redrive:
    """Raises NotFound. Limited callers see those that they began."""
    return _existing(found if found is None or not caller.is_limited or found.submitted_by == caller.name else None)


def _existing(found: Redrive | None) -> Redrive:
    if found is None:
        raise NotFound("there is no redrive with this id")
    return found
