"""Query strings: each route says which parameters it takes; unknown and wrong ones are told all at once."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Status
from waggle_api import cursors
from waggle_api.admission import NUL, holds_nul
from waggle_api.refusals import Findings, did_you_mean
from waggle_api.requests import UNREADABLE, Moment, priority_of

T = TypeVar("T")
Parse = Callable[[list[str]], Any]

LIMIT_MOST: Final = 1_000
LIMIT_DEFAULT: Final = 50
WAIT_MOST: Final = 60.0
MANY: Final = 100


def read(request: Request[Any, Any, Any], parameters: Mapping[str, Parse]) -> dict[str, Any]:
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
            found[name] = parameters[name](values)
        except ValueError as error:
            findings.add(name, str(error))
    findings.check()
    return found


def one(parse: Callable[[str], T]) -> Callable[[list[str]], T]:
    """A parameter that is given once."""

    def parsed(values: list[str]) -> T:
        if len(values) > 1:
            raise ValueError("is given more than once")
        return parse(values[0])

    return parsed


def many(parse: Callable[[str], T]) -> Callable[[list[str]], list[T]]:
    """A parameter that is repeated, or holds several values with commas between them."""

    def parsed(values: list[str]) -> list[T]:
        parts = [part.strip() for value in values for part in value.split(",")]
        if len(parts) > MANY:
            raise ValueError(f"has {len(parts)} values, {MANY} are allowed")
        return [parse(part) for part in parts]

    return parsed


def number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else -1.0
        if not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1
        if not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return parse


def name(pattern: str, longest: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) > longest or not re.fullmatch(pattern, text):
            raise ValueError(f"must have at most {longest} characters and match {pattern}")
        return text

    return parse


def status(text: str) -> str:
    if text not in list(Status):
        raise ValueError(f"must be one of {', '.join(Status)}{did_you_mean(text, list(Status))}")
    return text


def priority(text: str) -> int:
    if not re.fullmatch(r"[0-9]", text):
        return priority_of(text)
    if text > "3":
        raise ValueError("must be 0 to 3, or a name")
    return int(text)


def moment(text: str) -> datetime:
    """ISO 8601 with an offset; a `+` that was not encoded arrives as a space."""
    try:
        return msgspec.convert(text[:11] + text[11:].replace(" ", "+"), Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z, with its offset") from None


def json_object(text: str) -> str:
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


NOTHING: Final[Mapping[str, Parse]] = {}
ONE_TASK: Final[Mapping[str, Parse]] = {"wait": one(number(0, WAIT_MOST))}
TASKS: Final[Mapping[str, Parse]] = {
    "status": many(status),
    "type": many(name(TYPE_PATTERN, TYPE_LENGTH)),
    "queue": one(name(QUEUE_PATTERN, QUEUE_LENGTH)),
    "priority": one(priority),
    "created_from": one(moment),
    "created_to": one(moment),
    "metadata": one(json_object),
    "limit": one(whole(1, LIMIT_MOST)),
    "cursor": one(cursors.read),
}
