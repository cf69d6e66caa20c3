"""Query strings: each route declares its parameters; unknown and invalid ones are all reported at once.

A parameter carries the JSON Schema of its values and a description, which the OpenAPI document shows.
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

from waggle.field_errors import FieldErrors, did_you_mean
from waggle.submission import Moment
from waggle_api.http import cursors

T_co = TypeVar("T_co", covariant=True)
Schema = Mapping[str, Any]

PAGE_LIMIT: Final = 1_000  # items
PAGE_DEFAULT: Final = 50
VALUES_LIMIT: Final = 100  # of one parameter


@dataclass(frozen=True)
class Value(Generic[T_co]):
    """How one value is parsed, which raises ValueError, and its JSON Schema."""

    parse: Callable[[str], T_co]
    schema: Schema

    def __call__(self, text: str) -> T_co:
        return self.parse(text)


@dataclass(frozen=True)
class Parameter:
    """How all values given under one name are parsed, and what the document says about them."""

    parse: Callable[[list[str]], Any]
    schema: Schema
    about: str


def read(text: bytes, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameters in a query string, parsed. Raises Invalid."""
    if not text:
        return {}
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    errors, found = FieldErrors(), {}
    for name, values in given.items():
        if name not in parameters:
            errors.add(name, "is not a parameter of this address" + errors.propose(name, parameters))
            continue
        try:
            found[name] = parameters[name].parse(values)
        except ValueError as error:
            errors.add(name, str(error))
    errors.check()
    return found


def one(value: Value[Any], about: str = "") -> Parameter:
    """A parameter that is given once."""

    def parse(values: list[str]) -> Any:
        if len(values) > 1:
            raise ValueError("is given more than once")
        return value(values[0])

    return Parameter(parse, value.schema, about)


def many(value: Value[Any], about: str = "") -> Parameter:
    """A parameter that is repeated, or holds several values separated by commas."""

    def parse(values: list[str]) -> list[Any]:
        parts = [part.strip() for given in values for part in given.split(",")]
        if len(parts) > VALUES_LIMIT:
            raise ValueError(f"has {len(parts)} values, {VALUES_LIMIT} are allowed")
        return [value(part) for part in parts]

    schema = {"type": "array", "items": value.schema, "minItems": 1, "maxItems": VALUES_LIMIT}
    return Parameter(parse, schema, f"{about}; repeat it, or separate its values with commas")


def number(least: float, most: float) -> Value[float]:
    def parse(text: str) -> float:
        value = float(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) else math.nan
        if not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return value

    return Value(parse, {"type": "number", "minimum": least, "maximum": most})


def whole(least: int, most: int) -> Value[int]:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,16}", text) else least - 1
        if not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return Value(parse, {"type": "integer", "minimum": least, "maximum": most})


NUMBER: Final = whole(1, 2**53 - 1)  # of something that is counted through forever; every JSON reader holds it exactly


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


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _moment(text: str) -> datetime:
    """ISO 8601 with an offset; a `+` that was not encoded arrives as a space."""
    try:
        return msgspec.convert(text[:11] + text[11:].replace(" ", "+"), Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError("must be a time with an offset, such as 2026-01-31T12:00:00Z") from None


boolean: Final = Value(_boolean, {"type": "boolean"})
moment: Final = Value(_moment, {"type": "string", "format": "date-time"})

LIMIT: Final = one(whole(1, PAGE_LIMIT), f"maximum items per page (default {PAGE_DEFAULT})")
CURSOR: Final = one(Value(cursors.read, {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}), "the `next_cursor` of the previous page")

NO_PARAMETERS: Final[Mapping[str, Parameter]] = {}
