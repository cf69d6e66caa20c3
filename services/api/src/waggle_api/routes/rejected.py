"""`/api/rejected`: what publishers handed over and could not be accepted: why, and once more after a repair."""

from typing import Any, Final

from litestar.types import ASGIApp
from nats.aio.msg import Msg

from waggle.bus.connection import NATS_OUTAGE
from waggle.bus.subjects import StreamPlace
from waggle.scopes import Scope
from waggle.submission import CreateTask, Submission, read_task
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, Task
from waggle_api.caller import Caller
from waggle_api.http import answers, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.bodies import Body
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group
from waggle_api.nats import ingest, messages, rejections
from waggle_api.nats.publishers import DOOR
from waggle_api.nats.rejections import Rejection, Why
from waggle_api.refusals import NotFound, Unavailable
from waggle_api.resources import Call
from waggle_api.routes import acts, seen

ONE_TASK_BYTES: Final = 2 << 20
NOTHING: Final = "there is no rejected submission with this id: it was submitted again or discarded, or a week has passed"
AWAY: Final = "NATS, which keeps what was rejected, does not answer"


def _path_id(values: list[str]) -> int:
    try:
        return queries.NUMBER(values[0])
    except ValueError:
        raise NotFound(NOTHING) from None


REJECTION_ID: Final = Parameter(_path_id, queries.NUMBER.schema, "the id of a rejected submission")
PAGE: Final = {
    "limit": queries.LIMIT,
    "cursor": queries.one(queries.NUMBER, "the `next_cursor` of the previous page"),
    "publisher": queries.one(queries.name(QUEUE_PATTERN, QUEUE_LENGTH), "of this publisher"),
}

ROUTES: Final = Group("Publishers", {"rejection": REJECTION_ID})


def _edited(text: bytes) -> Submission | None:
    return read_task(text) if text else None


@ROUTES.route("GET", "/rejected", name="rejected_listing", scope=Scope.TASKS_READ, query=PAGE, answers={200: Page[Rejection]})
async def list_rejected(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: int = 0, publisher: str | None = None) -> ASGIApp:
    """A page of submissions that were not accepted, the oldest first, without their bodies."""
    try:
        found, after = await rejections.page(call.resources.bus, publisher, cursor, limit)
    except NATS_OUTAGE as error:
        raise Unavailable(AWAY) from error
    return answers.page(found, None if after is None else str(after))


@ROUTES.route("GET", "/rejected/{rejection}", name="rejected_show", scope=Scope.PAYLOADS_READ, answers={200: Rejection})
async def get_rejected(call: Call, rejection: int) -> ASGIApp:
    """One submission that was not accepted, with its headers and its body. They hold a payload, so this needs `payloads:read`."""
    _, message = await _existing(call, rejection)
    shown = rejections.read(message, whole=True)
    assert shown is not None
    return answers.ok(shown)


@ROUTES.route(
    "POST",
    "/rejected/{rejection}/resubmit",
    name="rejected_resubmit",
    scope=Scope.TASKS_WRITE,
    body=Body(CreateTask, _edited, ONE_TASK_BYTES, required=False, may_be_empty=True),
    answers={201: Task, 200: Task},
)
async def resubmit(call: Call, rejection: int, body: Submission | None) -> ASGIApp:
    """Submit it again: as it came, or with the task in the body instead. It is checked as any other; repeating this creates no second task.

    Its publisher stays the submitter; what the publisher may do does not count, because you ask. Its idempotency key does not count either.
    """
    why, message = await _existing(call, rejection)
    submission = body or messages.read(why.subject, message.data, why.headers).submission
    caller = Caller(name=f"publisher:{why.publisher}", scopes=call.caller.scopes, door=DOOR)
    accepted = await call.resources.intake.accept(submission, caller, None, ingest.task_id(StreamPlace(why.number, why.stored, 1)))
    try:
        await rejections.discard(call.resources.bus, rejection)
    except NATS_OUTAGE as error:
        raise Unavailable(f"the task {accepted.tasks[0].id} was created; {AWAY}, so it is still listed: repeat this") from error
    async with call.resources.connection() as connection:
        await acts.record(call, connection, "rejected.resubmit", str(rejection), after={"task": str(accepted.tasks[0].id), "edited": body is not None})
    return EncodedResponse(201 if accepted.created else 200, encode(seen.one(call, accepted.tasks[0])))


@ROUTES.route("DELETE", "/rejected/{rejection}", name="rejected_discard", scope=Scope.TASKS_WRITE, answers={200: Rejection})
async def discard(call: Call, rejection: int) -> ASGIApp:
    """Discard a submission that was not accepted, for good."""
    why, message = await _existing(call, rejection)
    try:
        await rejections.discard(call.resources.bus, rejection)
    except NATS_OUTAGE as error:
        raise Unavailable(AWAY) from error
    facts: dict[str, Any] = {"publisher": why.publisher, "type": why.type, "code": why.code}
    async with call.resources.connection() as connection:
        await acts.record(call, connection, "rejected.discard", str(rejection), before=facts)
    shown = rejections.read(message)
    assert shown is not None
    return answers.ok(shown)


async def _existing(call: Call, rejection: int) -> tuple[Why, Msg]:
    try:
        found = await rejections.get(call.resources.bus, rejection)
    except NATS_OUTAGE as error:
        raise Unavailable(AWAY) from error
    if found is None:
        raise NotFound(NOTHING)
    return found
