"""Why tasks wait or how they ended: `/api/explain`, and of one task `/explain`, `/timeline` and `/logs`."""

from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from litestar.types import ASGIApp

from waggle.errors import ShownError
from waggle.scopes import Scope
from waggle.store import explanations, tasks
from waggle_api.control.cancelling import NO_TASK
from waggle_api.edge import shown
from waggle_api.explain import logs, timeline
from waggle_api.explain.logs import LogLine
from waggle_api.explain.looking import Explanation, WaitingGroup
from waggle_api.explain.timeline import AttemptPlace, TimelineEvent
from waggle_api.http import answers, cursors, queries
from waggle_api.http.answers import Page
from waggle_api.http.routing import Group
from waggle_api.refusals import NotFound
from waggle_api.resources import Call
from waggle_api.routes import parameters

LOGS: Final = {"attempt": queries.one(queries.whole(1, 999_999_999), "lines of this attempt; without it of all"), **parameters.ATTEMPTS}

ROUTES: Final = Group("Explain", {"task_id": parameters.TASK_ID})


@ROUTES.route("GET", "/explain", name="explain_waiting", scope=Scope.TASKS_READ, limited=True, answers={200: Page[WaitingGroup]})
async def explain_waiting(call: Call) -> ASGIApp:
    """What waits and why, by reason, queue and type, the most tasks first; counted over the first 20,000 tasks."""
    async with call.resources.connection() as connection:
        found = await call.resources.explainer.everything(connection)
    return answers.page([group for group in found if call.caller.reaches(group.queue, group.type)])


@ROUTES.route("GET", "/tasks/{task_id}/explain", name="tasks_explain", scope=Scope.TASKS_READ, limited=True, answers={200: Explanation})
async def explain_task(call: Call, task_id: UUID) -> ASGIApp:
    """Why a task does not run now, or ended as it did: a sentence, and the reasons with their facts. The first reason is the answer."""
    async with call.resources.connection() as connection:
        found = await call.resources.explainer.task(connection, task_id, _hide(call))
    if found is None or not call.caller.reaches(found[0]["queue"], found[0]["type"]):
        raise NotFound(NO_TASK)
    return answers.ok(found[1])


@ROUTES.route(
    "GET",
    "/tasks/{task_id}/timeline",
    name="tasks_history",
    scope=Scope.TASKS_READ,
    limited=True,
    query=parameters.ATTEMPTS,
    answers={200: Page[TimelineEvent]},
)
async def get_timeline(
    call: Call, task_id: UUID, limit: int = queries.PAGE_DEFAULT, cursor: tuple[int, int] | None = None, after_attempt: int | None = None
) -> ASGIApp:
    """A page of the life of a task: who submitted it by which door, rings, attempts, retries, returns from the dead letter queue, its end.

    Of an attempt's error, details of more than 4 KiB are left out.
    """
    start = AttemptPlace(*cursor) if cursor is not None else AttemptPlace(0 if after_attempt is None else after_attempt + 1)
    async with call.resources.connection() as connection:
        task = _existing(call, await explanations.task(connection, task_id))
        attempts = await tasks.attempts(connection, task_id, start.attempt - 1, timeline.attempts_for(limit))
        is_rest = len(attempts) < timeline.attempts_for(limit)
        retries = await explanations.retries(connection, task_id, start.attempt, cursors.STEP_LIMIT if is_rest else attempts[-1]["attempt"])
    found, following = timeline.page(task, attempts, retries, start, limit, is_rest=is_rest)
    return answers.page([_shown(call, event) for event in found], _cursor(following))


@ROUTES.route("GET", "/tasks/{task_id}/logs", name="tasks_logs", scope=Scope.PAYLOADS_READ, limited=True, query=LOGS, answers={200: Page[LogLine]})
async def get_logs(
    call: Call,
    task_id: UUID,
    attempt: int | None = None,
    limit: int = queries.PAGE_DEFAULT,
    cursor: tuple[int, int] | None = None,
    after_attempt: int = 0,
) -> ASGIApp:
    """A page of what the handler has logged through `ctx.log`, in each attempt or in one; of a running attempt as far as it is.

    The first lines are kept, as many as the workers' settings say. They may hold values of the payload, so this needs `payloads:read`.
    """
    async with call.resources.connection() as connection:
        task = shown.existing(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))
        start = AttemptPlace(after_attempt + 1) if cursor is None else AttemptPlace(*cursor)
        lines, following = await logs.page(connection, call.resources.bus, task, attempt, start, limit)
    return answers.page(lines, _cursor(following))


def _cursor(following: AttemptPlace | None) -> str | None:
    return None if following is None else cursors.write_step(*following)


def _existing(call: Call, row: asyncpg.Record | None) -> asyncpg.Record:
    """Raises NotFound for a task that does not exist for this caller."""
    if row is None or not call.caller.reaches(row["queue"], row["type"]):
        raise NotFound(NO_TASK)
    return row


def _hide(call: Call) -> str | None:
    """What stands for the words of errors, which hold values of payloads."""
    return None if call.caller.sees_payloads else shown.HIDDEN_MESSAGE


def _shown(call: Call, event: TimelineEvent) -> TimelineEvent:
    error: ShownError | None = event.error
    return event if error is None else msgspec.structs.replace(event, error=shown.shown_error(call.caller, error))
