"""`/api/events`: what happens to tasks; `/api/tasks/{id}/stream`: what the handler of one emits. Both as server-sent events."""

import contextlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar
from uuid import UUID

from litestar.types import ASGIApp

from waggle.bus.connection import NATS_OUTAGE
from waggle.bus.events import TaskEvent
from waggle.field_errors import FieldError, Invalid
from waggle.scopes import Scope
from waggle.store import tasks
from waggle_api.control.feed import WantedEvents
from waggle_api.control.following import START, EmittedValue, Ended, Mark, NewAttempt
from waggle_api.edge import narrow, shown
from waggle_api.http import queries, sse
from waggle_api.http.answers import encode
from waggle_api.http.queries import Value
from waggle_api.http.routing import Group
from waggle_api.http.sse import EventStream
from waggle_api.resources import Call
from waggle_api.routes import parameters

T = TypeVar("T")

LAST_EVENT_ID: Final = b"last-event-id"
LAST: Final = queries.whole(0, 2**53 - 1)
CHECK_EACH: Final = 5.0  # seconds between two looks whether the key or session of the reader is still good

FILTERS: Final = {
    **{name: parameters.TASKS[name] for name in ("status", "type", "queue")},
    "task_id": queries.one(Value(UUID, {"type": "string", "format": "uuid"}), "of this task"),
    "after": queries.one(LAST, "go on after the event with this id, as the header Last-Event-ID does"),
}


def _mark(text: str) -> Mark:
    """Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}-[0-9]{1,9}", text):
        raise ValueError("must be the id of a value, such as 1-17")
    attempt, _, number = text.partition("-")
    return int(attempt), int(number)


MARK: Final = Value(_mark, {"type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,9}$"})

ROUTES: Final = Group("Events", {"task_id": parameters.TASK_ID})


@ROUTES.route("GET", "/events", name="events_listen", scope=Scope.TASKS_READ, limited=True, query=FILTERS, answers={200: (sse.MEDIA_TYPE.decode(),)})
async def listen(call: Call, after: int | None = None, task_id: UUID | None = None, **given: Any) -> ASGIApp:
    """What happens to tasks from now on, or since `Last-Event-ID`, for as long as you listen.

    Events are hints: one can be lost. `GET /api/tasks?updated_after=` misses nothing. They are kept for a day.
    """
    wanted = narrow.to_reach(call.caller, given.get("type"), given.get("queue"))
    if wanted is None:
        types: frozenset[str] | None = frozenset()
    else:
        types = None if wanted.types is None else frozenset(wanted.types)
    statuses = None if given.get("status") is None else frozenset(given["status"])
    place = _last_event_id(call) if after is None else after
    if place is None:
        with contextlib.suppress(*NATS_OUTAGE):  # then from when it is back
            place = await call.resources.feed.last()
    return EventStream(_told(call, WantedEvents(statuses, types, given.get("queue"), task_id), place))


async def _told(call: Call, wanted: WantedEvents, after: int | None) -> AsyncIterator[bytes]:
    def sees(event: TaskEvent) -> bool:
        return call.caller.reaches(event.queue, event.type)

    async with contextlib.aclosing(_checked(call, call.resources.feed.events(wanted, sees, after))) as source:
        async for found in source:
            yield b"" if found is None else sse.event(found[1], str(found[0]))


@ROUTES.route(
    "GET",
    "/tasks/{task_id}/stream",
    name="tasks_stream",
    scope=Scope.PAYLOADS_READ,
    limited=True,
    query={"after": queries.one(MARK, "go on after the value with this id, as the header Last-Event-ID does")},
    answers={200: (sse.MEDIA_TYPE.decode(),)},
)
async def follow(call: Call, task_id: UUID, after: Mark | None = None) -> ASGIApp:
    """What the handler of a task emits, until the task comes to rest: values, an event `attempt` between two attempts, and `end` with the status.

    Only the last values of an attempt are kept with it; the others are gone after ten minutes. They may hold values of the payload.
    """
    async with call.resources.connection() as connection:
        shown.existing(call.caller, (await tasks.get_many(connection, [task_id])).get(task_id))
    return EventStream(_followed(call, task_id, after or _last_mark(call)))


async def _followed(call: Call, task_id: UUID, after: Mark) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(_checked(call, call.resources.following.values(task_id, after))) as source:
        async for found in source:
            match found:
                case EmittedValue():
                    yield sse.event(encode(found), f"{found.attempt}-{found.number}")
                case NewAttempt(attempt):
                    yield sse.event(encode({"attempt": attempt}), name="attempt")
                case Ended(status):
                    yield sse.event(encode({"status": status}), name="end")
                case None:
                    yield b""


async def _checked(call: Call, source: AsyncIterator[T]) -> AsyncGenerator[T]:
    """As long as the key or session of the reader is good."""
    checked = time.monotonic()
    async for found in source:
        if time.monotonic() - checked >= CHECK_EACH:
            checked = time.monotonic()
            if call.resources.identity is not None and not await call.resources.identity.still_knows(call.request.scope):
                return
        yield found


def _last_mark(call: Call) -> Mark:
    """Raises Invalid."""
    text = _last_event(call)
    try:
        return START if text is None else _mark(text)
    except ValueError:
        raise Invalid([FieldError("Last-Event-ID", "is not the id of a value of this task")]) from None


def _last_event_id(call: Call) -> int | None:
    """Where this reader stood when it was cut off. Raises Invalid."""
    text = _last_event(call)
    try:
        return None if text is None else LAST(text)
    except ValueError:
        raise Invalid([FieldError("Last-Event-ID", "is not the id of an event of this list")]) from None


def _last_event(call: Call) -> str | None:
    given = [value for name, value in call.request.scope["headers"] if name == LAST_EVENT_ID]
    return given[-1].decode("latin-1").strip() if given else None
