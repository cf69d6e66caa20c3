"""Values and parameters of paths and query strings that are about tasks, queues and breakers."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

import msgspec

from waggle import nesting
from waggle.field_errors import NUL, UNREADABLE, holds_nul
from waggle.submission import PRIORITY_NAMES, parse_priority
from waggle.task import BREAKER_LENGTH, BREAKER_PATTERN, QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Priority, Status
from waggle_api.http import cursors, queries
from waggle_api.http.queries import Parameter, Value
from waggle_api.refusals import NotFound

WAIT_LIMIT_SECONDS: Final = 60.0
WINDOW_LIMIT_SECONDS: Final = 86_400.0


def _priority(text: str) -> int:
    if not re.fullmatch(r"[0-9]", text):
        return parse_priority(text)
    if text > "3":
        raise ValueError("must be 0 to 3, or a name")
    return int(text)


def _json_object(text: str) -> str:
    """A JSON object, as text."""
    try:
        nesting.check(text.encode())
        value = msgspec.json.decode(text)
    except UNREADABLE:
        value = None
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object, such as {"tenant":"a"}')
    if holds_nul(text.encode()):
        raise ValueError(NUL)
    return text


def _id_of(noun: str) -> Callable[[list[str]], UUID]:
    def parse(values: list[str]) -> UUID:
        try:
            return UUID(values[0])
        except ValueError:
            raise NotFound(f"there is no {noun} with this id: ids are UUIDs") from None

    return parse


def _text(values: list[str]) -> str:
    return values[0]


TASK_ID: Final = Parameter(_id_of("task"), {"type": "string", "format": "uuid"}, "the task's id")
DEAD_LETTER_ID: Final = Parameter(_id_of("dead letter"), {"type": "string", "format": "uuid"}, "the task's id")
REDRIVE_ID: Final = Parameter(_id_of("redrive"), {"type": "string", "format": "uuid"}, "the bulk retry's id")
QUEUE: Final = Parameter(_text, {"type": "string", "pattern": QUEUE_PATTERN, "maxLength": QUEUE_LENGTH}, "the queue's name")
TYPE: Final = Parameter(_text, {"type": "string", "pattern": TYPE_PATTERN, "maxLength": TYPE_LENGTH}, "the task type's name")
BREAKER: Final = Parameter(_text, {"type": "string", "pattern": BREAKER_PATTERN, "maxLength": BREAKER_LENGTH}, "the circuit breaker's name")

status: Final = queries.choice(Status)
priority: Final = Value(_priority, {"anyOf": [{"type": "integer", "enum": [*Priority]}, {"type": "string", "enum": PRIORITY_NAMES}]})
json_object: Final = Value(_json_object, {"type": "string", "format": "json-object"})
type_name: Final = queries.name(TYPE_PATTERN, TYPE_LENGTH)
queue_name: Final = queries.name(QUEUE_PATTERN, QUEUE_LENGTH)

STATS: Final[Mapping[str, Parameter]] = {"window": queries.one(queries.number(1, WINDOW_LIMIT_SECONDS), "how many seconds to look back (default 3600)")}
CANCEL: Final[Mapping[str, Parameter]] = {"purge": queries.one(queries.boolean, "true: delete a finished task instead, with its attempts")}
ONE_TASK: Final[Mapping[str, Parameter]] = {
    "wait": queries.one(queries.number(0, WAIT_LIMIT_SECONDS), "wait up to this many seconds until the task has ended or is a dead letter")
}
ATTEMPTS: Final[Mapping[str, Parameter]] = {
    "after_attempt": queries.one(queries.whole(0, cursors.STEP_LIMIT - 1), "only what came after this attempt; with a `cursor` it does nothing"),
    "limit": queries.LIMIT,
    "cursor": queries.one(Value(cursors.read_step, {"type": "string", "pattern": "^[A-Za-z0-9_-]{12}$"}), "the `next_cursor` of the previous page"),
}
TASKS: Final[Mapping[str, Parameter]] = {
    "status": queries.many(status, "tasks with one of these statuses"),
    "type": queries.many(type_name, "tasks of one of these types"),
    "queue": queries.one(queue_name, "tasks of this queue"),
    "priority": queries.one(priority, "tasks of this priority, by its number or its name"),
    "created_from": queries.one(queries.moment, "created at this time or later; with an offset"),
    "created_to": queries.one(queries.moment, "created before this time; with an offset"),
    "metadata": queries.one(json_object, "a JSON object that the metadata contain"),
    "updated_after": queries.one(queries.moment, "instead the tasks that came to rest after this time, the first of them first; with an offset"),
    "limit": queries.LIMIT,
    "cursor": queries.one(
        Value(cursors.read_any, {"type": "string", "pattern": "^([A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{32})$"}), "the `next_cursor` of the previous page"
    ),
}
