"""What the door takes, the worker reads, and nothing else: both are asked about the same values of the same types, whatever these are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict
from uuid import UUID

import attrs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import Meta, Raw

from waggle import payload_schema
from waggle.app import App, Handler
from waggle.field_errors import FieldErrors
from waggle.payload_schema import TypeSchema


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Line:
    a: int
    b: Annotated[float, Meta(multiple_of=0.01)] = 0.5


@dataclass
class Tree:
    a: int
    b: "list[Tree]" = field(default_factory=list)


@attrs.define
class Box:
    a: Decimal
    b: UUID | None = None


class Row(NamedTuple):
    a: int
    b: str = ""


class Loose(TypedDict):
    a: int
    b: NotRequired[Annotated[float, Meta(multiple_of=0.25)]]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int
    b: datetime | None = None


class Cat(msgspec.Struct, tag=True):
    a: int


class Dog(msgspec.Struct, tag=True, rename={"a": "b"}):
    a: Annotated[float, Meta(multiple_of=0.1)]


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: float = 0.0


class One(msgspec.Struct, tag_field="b", tag=1):
    a: Line


class Two(msgspec.Struct, tag_field="b", tag=2):
    a: float


SCALARS: list[Any] = [
    *(Any, None, bool, int, float, str, bytes, Decimal, UUID, datetime, date, time, timedelta),
    *(Colour, Level, Literal[1, 2], Literal["a", "b"], Literal[1, "a", None]),
    *(Annotated[int, Meta(ge=0)], Annotated[int, Meta(gt=1, lt=100)], Annotated[int, Meta(le=2**63 - 1)], Annotated[int, Meta(multiple_of=5)]),
    *(Annotated[float, Meta(ge=0, lt=10)], Annotated[float, Meta(multiple_of=0.01)], Annotated[float, Meta(multiple_of=3)]),
    *(Annotated[str, Meta(min_length=1, max_length=3)], Annotated[bytes, Meta(min_length=2, max_length=4)]),
    *(Annotated[datetime, Meta(tz=True)], Annotated[datetime, Meta(tz=False)], Annotated[time, Meta(tz=True)], Annotated[time, Meta(tz=False)]),
    *(Annotated[str, Meta(pattern=pattern)] for pattern in (r"^\w+$", r"^(?P<a>x)(?P=a)$", r"\d", r"^a.b$", "(?i)^A", r"\bx", r"^\S{1,400}$")),
]
CLASSES: list[Any] = [Line, Tree, Box, Row, Loose, Strict, Cat, Dog, Cat | Dog, Cat | None, One | Two, Pair, One | Two | int]
KEYS: list[Any] = [
    *(str, int, float, Decimal, bytes, UUID, date, datetime, Colour, Level, Literal["a", "b"], Literal[1, 2], UUID | None, int | str),
    *(Annotated[int, Meta(ge=5)], Annotated[float, Meta(lt=8)], Annotated[str, Meta(min_length=2)], Annotated[bytes, Meta(max_length=1)]),
]
UNIONS: list[Any] = [int | str, int | float, int | None, float | str, Decimal | int, Decimal | float, Decimal | None, UUID | int, Line | None, list[int] | int]
UNIONS += [dict[int, int] | list[float] | None, Literal[1] | float, Level | str, Annotated[float, Meta(multiple_of=0.01)] | None, Row | Cat | Dog | None]


def holders(inner: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    limits = Meta(min_length=1, max_length=2)
    return some.one_of(
        some.builds(lambda one: list[one], inner),
        some.builds(lambda one: Annotated[list[one], limits], inner),
        some.builds(lambda one: tuple[one, ...], inner),
        some.builds(lambda one, other: tuple[one, other], inner, inner),
        some.builds(lambda one: Optional[one], inner),  # noqa: UP045  # `|` is not defined for None and None
        some.builds(lambda key, one: dict[key, one], some.sampled_from(KEYS), inner),
        some.builds(lambda key, one: Annotated[Mapping[key, one], limits], some.sampled_from(KEYS), inner),
    )


SETS = [set[int], frozenset[str], set[UUID], set[float], Annotated[set[int], Meta(max_length=1)], Annotated[frozenset[int], Meta(min_length=2)]]
TYPES = some.recursive(some.sampled_from([*SCALARS, *CLASSES, *UNIONS, *SETS]), holders, max_leaves=3)

NUMBERS = ["0", "-0", "1", "2", "5", "15", "3.0", "1.0", "2.0", "-0.0", "1e1", "1E2", "3.5", "19.99", "0.07", "0.075", "1.10", "100", "1e-400", "-1"]
NUMBERS += ["1" * 30, "-" + "1" * 30, "9" * 400, "1e300", "0.3", "0.30000000000000004", "9223372036854775807", "9223372036854775808", "1e23"]
TEXTS = ["", "a", "b", "ab", "abcd", "red", "xx", "xy", "a\n", "café", "a b", "x", "1", "2", "07", "+7", "-7", "7.0", "7.5", "1e1", "-0", "9", "null", "true"]
TEXTS += ["1.10", "abc", "NaN", "Infinity", " 1 ", "1_0", "2027-02-28", "2027-02-30", "tomorrow", "P1D", "PT0.5S", "P1Y", "p1dt1h", "12:00:00", "12:00"]
TEXTS += [f"{day}{end}" for day in ("2027-01-01T00:00:00", "2027-02-30 00:00:00", "12:00:00.5") for end in ("", "Z", "+01:00", "-0530")]
TEXTS += ["00000000-0000-0000-0000-000000000000", "0" * 32, "{" + "0" * 32 + "}", "!!", "AQ==", "AQ", "AQIDBAU=", "AQIDBA==", "AQI=", "AR==", "=", "Cat", "Dog"]
ATOMS = some.sampled_from([*NUMBERS, *map(json.dumps, TEXTS), "null", "true", "false"])


def listed(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def mapped(items: list[tuple[str, str]]) -> str:
    return "{" + ", ".join([f"{json.dumps(name)}: {value}" for name, value in items]) + "}"


NAMES = some.sampled_from(["a", "b", "a", "b", "type", "c", *TEXTS])


def deeper(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    return some.one_of(
        some.lists(inner, max_size=3).map(listed),
        some.lists(some.tuples(NAMES, inner), max_size=3).map(mapped),
        some.builds(lambda kind, one: mapped([("type", kind), ("a", one)]), some.sampled_from(['"Cat"', '"Dog"', "1", "2.0"]), inner),
        some.builds(lambda one, kind: mapped([("a", one), ("b", kind)]), inner, some.sampled_from(["1", "2.0", "3", "[]"])),
    )


VALUES = some.recursive(some.one_of(ATOMS, some.floats(allow_nan=False, allow_infinity=False).map(repr), some.integers().map(str)), deeper, max_leaves=4)


def handler(annotation: Any) -> Handler:
    """The handler of a task with one parameter `v`."""

    async def function(v: Any) -> None: ...

    function.__annotations__["v"] = annotation
    app = App()
    app.task("a.type")(function)
    return app.handlers["a.type"]


def at_the_door(handler: Handler) -> TypeSchema:
    """The type as the API knows it."""
    return payload_schema.of_type(handler.name, (handler.schema_text,), ())


def door_takes(schema: TypeSchema, payload: str) -> bool:
    errors = FieldErrors()
    payload_schema.read(Raw(payload.encode()), schema, errors)
    assert schema.fits(msgspec.json.decode(payload), payload) == (not errors.errors)
    return not errors.errors


def worker_takes(handler: Handler, payload: str) -> bool:
    try:
        handler.arguments(payload)
    except msgspec.ValidationError:
        return False
    return True


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(TYPES, some.lists(VALUES, min_size=1, max_size=8))
def test_they_agree(annotation: Any, values: list[str]) -> None:
    found = handler(annotation)
    known = at_the_door(found)
    answers = {value: (door_takes(known, f'{{"v": {value}}}'), worker_takes(found, f'{{"v": {value}}}')) for value in values}
    assert {value: answer for value, answer in answers.items() if answer[0] != answer[1]} == {}, found.schema
