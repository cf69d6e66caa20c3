"""The parameters of query strings that are about tasks."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from waggle import nesting
from waggle.field_errors import NUL, UNREADABLE, holds_nul
from waggle.submission import NAMES, priority_of
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Priority, Status
from waggle_api.http import queries
from waggle_api.http.queries import Parameter, Value

WAIT_MOST: Final = 60.0
WINDOW_MOST: Final = 86_400.0


def _priority(text: str) -> int:
    if not re.fullmatch(r"[0-9]", text):
        return priority_of(text)
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


status: Final = queries.choice(Status)
priority: Final = Value(_priority, {"type": ["integer", "string"], "enum": [*Priority, *NAMES]})
json_object: Final = Value(_json_object, {"type": "string", "format": "json-object"})
type_name: Final = queries.name(TYPE_PATTERN, TYPE_LENGTH)
queue_name: Final = queries.name(QUEUE_PATTERN, QUEUE_LENGTH)
STATS: Final[Mapping[str, Parameter]] = {"window": queries.one(queries.number(1, WINDOW_MOST), "the figures of the last so many seconds; 3600 unless given")}
CANCEL: Final[Mapping[str, Parameter]] = {"purge": queries.one(queries.boolean, "true: delete a finished task instead, with its attempts")}
ONE_TASK: Final[Mapping[str, Parameter]] = {"wait": queries.one(queries.number(0, WAIT_MOST), "wait so many seconds for the task to come to rest")}
TASKS: Final[Mapping[str, Parameter]] = {
    "status": queries.many(status, "tasks with one of these statuses"),
    "type": queries.many(type_name, "tasks of one of these types"),
    "queue": queries.one(queue_name, "tasks of this queue"),
    "priority": queries.one(priority, "tasks of this priority, by its number or its name"),
    "created_from": queries.one(queries.moment, "created at this time or later; with its offset"),
    "created_to": queries.one(queries.moment, "created before this time; with its offset"),
    "metadata": queries.one(json_object, "a JSON object that the metadata contain"),
    "limit": queries.LIMIT,
    "cursor": queries.CURSOR,
}
