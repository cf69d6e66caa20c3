"""Query strings: each route says which parameters it takes; unknown and wrong ones are told all at once.

A parameter carries the JSON Schema of what it takes and a line about it, which the OpenAPI document shows.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Priority, Status
from waggle_api import cursors
from waggle_api.admission import NUL, holds_nul
from waggle_api.refusals import Findings, did_you_mean
from waggle_api.requests import NAMES, UNREADABLE, Moment, priority_of

T_co = TypeVar("T_co", covariant=True)
Schema = Mapping[str, Any]

LIMIT_MOST: Final = 1_000
LIMIT_DEFAULT: Final = 50
WAIT_MOST: Final = 60.0
WINDOW_MOST: Final = 86_400.0
MANY: Final = 100


@dataclass(frozen=True)
class Value(Generic[T_co]):
    """How one value is read, which raises ValueError, and its JSON Schema."""

    parse: Callable[[str], T_co]
    schema: Schema

    def __call__(self, text: str) -> T_co:
        return self.parse(text)


@dataclass(frozen=True)
class Parameter:
    """How all that is given under one name is read, and what the document says of it."""

    parse: Callable[[list[str]], Any]
    schema: Schema
    about: str


def read(request: Request[Any, Any, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameters that were given, parsed. Raises Invalid."""
    text = request.scope["query_string"]
    if not text:
        return {}
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    findings, found = Findings(), {}
    for name, values in given.items():
        if name not in parameters:
            findings.add(name, "is not a parameter of this address" + findings.propose(name, parameters))
            continue
        try:
            found[name] = parameters[name].parse(values)
        except ValueError as error:
            findings.add(name, str(error))
    findings.check()
    return found


def one(value: Value[Any], about: str = "") -> Parameter:
    """A parameter that is given once."""

    def parsed(values: list[str]) -> Any:
        if len(values) > 1:
            raise ValueError("is given more than once")
        return value(values[0])

    return Parameter(parsed, value.schema, about)


def many(value: Value[Any], about: str = "") -> Parameter:
    """A parameter that is repeated, or holds several values with commas between them."""

    def parsed(values: list[str]) -> list[Any]:
        parts = [part.strip() for text in values for part in text.split(",")]
        if len(parts) > MANY:
            raise ValueError(f"has {len(parts)} values, {MANY} are allowed")
        return [value(part) for part in parts]

    return Parameter(parsed, {"type": "array", "items": value.schema, "minItems": 1, "maxItems": MANY}, f"{about}; repeat it, or put commas between its values")


def number(least: float, most: float) -> Value[float]:
    def parse(text: str) -> float:
        value = float(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) else math.nan
        if not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return value

    return Value(parse, {"type": "number", "minimum": least, "maximum": most})


def whole(least: int, most: int) -> Value[int]:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else least - 1
        if not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return Value(parse, {"type": "integer", "minimum": least, "maximum": most})


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def name(pattern: str, longest: int) -> Value[str]:
    def parse(text: str) -> str:
        if len(text) > longest or not re.fullmatch(pattern, text):
            raise ValueError(f"must have at most {longest} characters and match {pattern}")
        return text

    return Value(parse, {"type": "string", "pattern": pattern, "maxLength": longest})


def choice(of: type[StrEnum]) -> Value[str]:
    """One of the values of an enumeration."""

    def parse(text: str) -> str:
        if text not in list(of):
            raise ValueError(f"must be one of {', '.join(of)}{did_you_mean(text, list(of))}")
        return text

    return Value(parse, {"type": "string", "enum": list(of)})


def _priority(text: str) -> int:
    if not re.fullmatch(r"[0-9]", text):
        return priority_of(text)
    if text > "3":
        raise ValueError("must be 0 to 3, or a name")
    return int(text)


def _moment(text: str) -> datetime:
    """ISO 8601 with an offset; a `+` that was not encoded arrives as a space."""
    try:
        return msgspec.convert(text[:11] + text[11:].replace(" ", "+"), Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z, with its offset") from None


def _json_object(text: str) -> str:
    """A JSON object, as text."""
    try:
        value = msgspec.json.decode(text)
    except UNREADABLE:
        value = None
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object, such as {"tenant":"a"}')
    if holds_nul(text.encode()):
        raise ValueError(NUL)
    return text


status: Final = choice(Status)
boolean: Final = Value(_boolean, {"type": "boolean"})
priority: Final = Value(_priority, {"type": ["integer", "string"], "enum": [*Priority, *NAMES]})
moment: Final = Value(_moment, {"type": "string", "format": "date-time"})
json_object: Final = Value(_json_object, {"type": "string", "format": "json-object"})
type_name: Final = name(TYPE_PATTERN, TYPE_LENGTH)
queue_name: Final = name(QUEUE_PATTERN, QUEUE_LENGTH)
LIMIT: Final = one(whole(1, LIMIT_MOST), f"so many on a page at most; {LIMIT_DEFAULT} unless given")
CURSOR: Final = one(Value(cursors.read, {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}), "the `next_cursor` of the page before")

NOTHING: Final[Mapping[str, Parameter]] = {}
STATS: Final[Mapping[str, Parameter]] = {"window": one(number(1, WINDOW_MOST), "the figures of the last so many seconds; 3600 unless given")}
CANCEL: Final[Mapping[str, Parameter]] = {"purge": one(boolean, "true: delete a finished task instead, with its attempts")}
ONE_TASK: Final[Mapping[str, Parameter]] = {"wait": one(number(0, WAIT_MOST), "wait so many seconds for the task to come to rest")}
TASKS: Final[Mapping[str, Parameter]] = {
    "status": many(status, "tasks with one of these statuses"),
    "type": many(type_name, "tasks of one of these types"),
    "queue": one(queue_name, "tasks of this queue"),
    "priority": one(priority, "tasks of this priority, by its number or its name"),
    "created_from": one(moment, "created at this time or later; with its offset"),
    "created_to": one(moment, "created before this time; with its offset"),
    "metadata": one(json_object, "a JSON object that the metadata contain"),
    "limit": LIMIT,
    "cursor": CURSOR,
}
