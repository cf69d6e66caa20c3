"""Payloads and what becomes of them: a task type for each kind of parameter, with JSON values that the door and the worker both take, or both refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import attrs
import msgspec
from msgspec import Meta

from waggle import App, Context

app = App()


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclass
class Item:
    a: int


@dataclass
class Node:
    a: int = 0
    nodes: "list[Node]" = field(default_factory=list)


class Options(TypedDict):
    a: int
    b: NotRequired[str]


class Place(NamedTuple):
    a: float
    b: float = 0.0


class Plain(msgspec.Struct):
    a: int


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str


@attrs.define
class Defined:
    a: Decimal


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    weight: Annotated[float, Meta(multiple_of=0.1)]


ID = "00000000-0000-0000-0000-000000000000"

# The annotation of the parameter `v`, the JSON values that are taken, and those that are refused.
TABLE: dict[str, tuple[Any, list[str], list[str]]] = {
    "int": (int, ["3.0", "1e2", "-0.0", "1" * 30, "1e300"], ["3.5", '"3"', "true", "null", "1e-1"]),
    "int.bounded": (Annotated[int, Meta(ge=0, lt=100)], ["0", "99.0"], ["-1", "100", "1e2", "1" * 30]),
    "int.long": (Annotated[int, Meta(le=2**63 - 1)], ["9223372036854775807"], ["9223372036854775808", "1" * 30]),
    "int.multiple": (Annotated[int, Meta(multiple_of=5)], ["15", "1.5e1", "5" * 30], ["7", "7.0", "1" * 30]),
    "int.str": (int | str, ["3.0", '"3.0"'], ["3.5", "null"]),
    "int.float": (int | float, ["3", "3.0", "3.5", "9" * 400], ['"3"']),
    "int.none": (int | None, ["3.0", "null"], ["3.5"]),
    "int.default": (int, ["3.0"], ["null"]),
    "literal": (Literal[1, 2], ["1.0", "2"], ["3", "1.5", "true", '"1"']),
    "literal.mixed": (Literal["a", 1, None], ['"a"', "1.0", "null"], ['"b"', "2"]),
    "literal.float": (Literal[1] | float, ["1", "2", "2.5"], ['"1"', "9" * 400]),
    "enum": (Colour, ['"red"'], ['"green"', "1"]),
    "enum.int": (Level, ["1", "1.0"], ["2", '"1"']),
    "decimal": (Decimal, ['"1.10"', "1.10", "7", "1" * 40, '"1e5"'], ['"abc"', '""', "true", "null"]),
    "decimal.float": (Decimal | float, ['"1.10"', "1.10"], ['"abc"', "9" * 400]),
    "float": (float, ["1", "1.5", "1e308", "1" * 309], ["9" * 400, "-" + "9" * 309, '"1"']),
    "float.bounded": (Annotated[float, Meta(gt=0)], ["0.1", "1e308"], ["0", "1e-400", "9" * 400]),
    "float.multiple": (Annotated[float, Meta(multiple_of=0.01)], ["19.99", "0.07", "20", "1e300"], ["19.995", '"19.99"']),
    "float.multiples": (list[Annotated[float, Meta(multiple_of=0.01)]], ["[19.99, 0.07]"], ["[19.99, 0.075]"]),
    "datetime": (datetime, ['"2027-01-01T00:00:00"', '"2027-01-01 00:00:00+05:30"'], ['"tomorrow"', '"2027-02-30T00:00:00Z"', '"2027-01-01"', "5"]),
    "datetime.zone": (Annotated[datetime, Meta(tz=True)], ['"2027-01-01T00:00:00Z"'], ['"2027-01-01T00:00:00"']),
    "datetime.local": (Annotated[datetime, Meta(tz=False)], ['"2027-01-01T00:00:00"'], ['"2027-01-01T00:00:00Z"']),
    "date": (date, ['"2027-02-28"'], ['"2027-02-30"', '"20270228"', '"2027-02-28T00:00:00Z"', "20270228"]),
    "time": (time, ['"12:30:00"', '"12:30:00.5Z"'], ['"12:30"', '"24:00:00"', '"noon"']),
    "time.zone": (Annotated[time, Meta(tz=True)], ['"12:30:00Z"'], ['"12:30:00"']),
    "timedelta": (timedelta, ['"P1DT2H"', '"PT0.5S"', '"-P1D"'], ['"P1Y"', '"1 day"', '"P"', "5"]),
    "uuid": (UUID, [f'"{ID}"', f'"{"0" * 32}"'], ['"x"', f'"urn:uuid:{ID}"', '""']),
    "bytes": (bytes, ['"AQ=="', '""'], ['"!!"', '"AQ"', '"-_=="', '"AQ==\\n"']),
    "bytes.most": (Annotated[bytes, Meta(max_length=4)], ['"AQIDBA=="'], ['"AQIDBAU="', '"AQIDBAUG"']),
    "bytes.fewest": (Annotated[bytes, Meta(min_length=2)], ['"AQI="'], ['"AQ=="']),
    "str.limits": (Annotated[str, Meta(min_length=2, max_length=3)], ['"ab"', '"äöü"'], ['"a"', '"abcd"']),
    "str.words": (Annotated[str, Meta(pattern=r"^\w+$")], ['"café"', '"a_1"', '"a\\n"'], ['"a b"', '""']),
    "str.digits": (Annotated[str, Meta(pattern=r"\d")], ['"٣"', '"a1"'], ['"a"']),
    "str.twice": (Annotated[str, Meta(pattern=r"^(?P<a>x)(?P=a)$")], ['"xx"'], ['"xy"']),
    "str.any.case": (Annotated[str, Meta(pattern="(?i)^ab$")], ['"AB"'], ['"ac"']),
    "str.long": (Annotated[str, Meta(pattern=r"^\w{1,4096}$")], ['"é"'], ['"é é"']),
    "str.atomic": (Annotated[str, Meta(pattern="^(?>a+)b$")], ['"aab"'], ['"aa"']),
    "list.limits": (Annotated[list[int], Meta(min_length=1, max_length=2)], ["[1.0]", "[1, 2]"], ["[]", "[1, 2, 3]", "[1.5]"]),
    "set": (set[int], ["[1, 1]", "[1, 1.0]", "[]"], ["[1.5]", "1"]),
    "set.limits": (Annotated[frozenset[int], Meta(min_length=2, max_length=2)], ["[1, 2]"], ["[1]", "[1, 1]", "[1, 2, 3]"]),
    "tuple": (tuple[int, str], ['[1.0, "a"]'], ["[1]", '[1, "a", 2]', '["a", 1]']),
    "tuple.any": (tuple[int, ...], ["[]", "[1.0, 2]"], ["[1.5]"]),
    "dict.int": (dict[int, str], ['{"7": "b"}', '{"-7": "b"}', "{}"], ['{"a": "b"}', '{"7.0": "b"}', '{"07": "b"}']),
    "dict.int.bounded": (dict[Annotated[int, Meta(ge=5)], int], ['{"7": 1.0}'], ['{"3": 1}']),
    "dict.float": (dict[float, int], ['{"7.5": 1}'], ['{"a": 1}']),
    "dict.uuid": (dict[UUID, int], [f'{{"{ID}": 1}}'], ['{"x": 1}']),
    "dict.date": (dict[date, int], ['{"2027-02-28": 1}'], ['{"2027-02-30": 1}']),
    "dict.literal": (dict[Literal["a", "b"], int], ['{"a": 1}'], ['{"c": 1}']),
    "dict.enum": (dict[Level, int], ['{"1": 1}'], ['{"2": 1}']),
    "dict.limits": (Annotated[Mapping[str, int], Meta(min_length=1)], ['{"a": 1}'], ["{}", '{"a": "b"}']),
    "dataclass": (Item, ['{"a": 1.0}'], ['{"a": 1, "unknown": 2}', "{}", "[1]"]),
    "dataclass.list": (list[Item] | None, ['[{"a": 1}]', "null"], ['[{"a": 1}, {"a": 1, "unknown": 2}]']),
    "dataclass.itself": (Node, ['{"nodes": [{"a": 1.0}]}'], ['{"nodes": [{"nodes": [{"unknown": 1}]}]}']),
    "typeddict": (Options, ['{"a": 1.0, "b": "x"}'], ['{"a": 1, "c": 2}', '{"b": "x"}']),
    "namedtuple": (Place, ["[1]", "[1, 2.5]"], ["[]", "[1, 2, 3]", '{"a": 1}']),
    "struct": (Plain, ['{"a": 1.0}'], ['{"a": 1, "unknown": 2}']),
    "struct.renamed": (Renamed, ['{"firstName": "x"}'], ['{"first_name": "x"}']),
    "attrs": (Defined, ['{"a": 1.10}'], ['{"a": 1, "unknown": 2}', '{"a": "x"}']),
    "tagged": (Cat | Dog, ['{"type": "Cat", "lives": 9.0}', '{"type": "Dog", "weight": 0.7}'], ['{"lives": 9}', '{"type": "Dog", "weight": 0.75}']),
    "tagged.one": (Cat | None, ['{"lives": 9}', '{"type": "Cat", "lives": 9}'], ['{"type": "Dog", "lives": 9}', '{"type": "Cat", "lives": 9, "unknown": 1}']),
}


def _register(name: str, annotation: Any) -> None:
    async def take(v: Any) -> None: ...
    async def take_or_not(v: Any = 7) -> None: ...

    function = take_or_not if name == "int.default" else take
    function.__annotations__["v"] = annotation
    app.task(f"take.{name}")(function)


for _name, (_annotation, _, _) in TABLE.items():
    _register(_name, _annotation)


@app.task("take.rest")
async def rest(ctx: Context, known: int = 0, **others: Any) -> None:
    """Takes any field, but not one with the name of its context."""


PAYLOADS = {
    "take.rest": (['{"other": 1.5, "known": 2.0}', '{"self": 1, "handler": 2, "context": 3}'], ['{"ctx": 5}', '{"known": 2.5}']),
    "take.int.default": (["{}"], ['{"w": 1}']),
}
TAKEN = [(f"take.{name}", f'{{"v": {value}}}') for name, (_, taken, _) in TABLE.items() for value in taken]
TAKEN += [(name, payload) for name, (taken, _) in PAYLOADS.items() for payload in taken]
REFUSED = [(f"take.{name}", f'{{"v": {value}}}') for name, (_, _, refused) in TABLE.items() for value in refused]
REFUSED += [(name, payload) for name, (_, refused) in PAYLOADS.items() for payload in refused]
