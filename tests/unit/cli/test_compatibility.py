"""What a new version of a type no longer takes: each change of a signature that buries payloads has a sentence, and no other change has one."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from waggle import App
from waggle_cli.compatibility import losses


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Less(Enum):
    RED = "red"


@dataclass
class Item:
    sku: str
    count: int = 1


@dataclass
class StricterItem:
    sku: str
    count: int


@dataclass
class Tree:
    children: "list[Tree]"


def schema_of(**parameters: Any) -> str:
    """The schema of a handler with these parameters; `(annotation, default)` makes an optional one."""
    fields = [(name, *each) if isinstance(each, tuple) else (name, each) for name, each in parameters.items()]
    source = ", ".join(f"{field[0]}: A_{field[0]}" + (f" = D_{field[0]}" if len(field) > 2 else "") for field in fields)
    names: dict[str, Any] = {f"A_{field[0]}": field[1] for field in fields} | {f"D_{field[0]}": field[2] for field in fields if len(field) > 2}
    exec(f"async def handler({source}) -> None: ...", names)  # noqa: S102  # a signature for each case
    app = App()
    app.task("any.thing")(names["handler"])
    return msgspec.json.encode(app.handlers["any.thing"].schema).decode()


NO_LOSS = {
    "the same": ({"a": int}, {"a": int}),
    "an optional field more": ({"a": int}, {"a": int, "b": (str, "")}),
    "a required field becomes optional": ({"a": int}, {"a": (int, 1)}),
    "another default": ({"a": (int, 1)}, {"a": (int, 2)}),
    "a wider type": ({"a": int}, {"a": float}),
    "a union": ({"a": int}, {"a": int | str}),
    "null too": ({"a": str}, {"a": str | None}),
    "anything": ({"a": str}, {"a": Any}),
    "wider limits": ({"a": Annotated[int, Meta(ge=1, le=5)]}, {"a": Annotated[int, Meta(ge=0)]}),
    "a value more": ({"a": Literal["x"]}, {"a": Literal["x", "y"]}),
    "any text instead of some": ({"a": Colour}, {"a": str}),
    "a field more inside": ({"a": list[StricterItem]}, {"a": list[Item]}),
    "a type of itself": ({"a": Tree}, {"a": Tree}),
}

LOSS = {
    "a field less": ({"a": int, "b": str}, {"a": int}, ["b is no longer a field"]),
    "renamed": ({"a": int}, {"b": int}, ["b is required", "a is no longer a field"]),
    "a required field more": ({"a": int}, {"a": int, "b": str}, ["b is required"]),
    "an optional field becomes required": ({"a": (int, 1)}, {"a": int}, ["a is required"]),
    "another type": ({"a": int}, {"a": str}, ["a takes string instead of integer"]),
    "a narrower type": ({"a": float}, {"a": int}, ["a takes integer instead of number"]),
    "a union less": ({"a": int | str}, {"a": int}, ["a no longer takes string"]),
    "null no more": ({"a": str | None}, {"a": str}, ["a no longer takes null"]),
    "any value no more": ({"a": Any}, {"a": int}, ["a takes integer instead of any value"]),
    "a limit": ({"a": str}, {"a": Annotated[str, Meta(max_length=5)]}, ["a has a maxLength of 5"]),
    "a narrower limit": ({"a": Annotated[int, Meta(ge=1)]}, {"a": Annotated[int, Meta(ge=2)]}, ["a has a minimum of 2 instead of 1"]),
    "a pattern": ({"a": str}, {"a": Annotated[str, Meta(pattern="^x")]}, ["a has another pattern"]),
    "a value less": ({"a": Colour}, {"a": Less}, ['a no longer takes "blue"']),
    "values instead of any text": ({"a": str}, {"a": Colour}, ['a takes only "blue", "red"']),
    "inside a list": ({"a": list[Item]}, {"a": list[StricterItem]}, ["a[].count is required"]),
    "items of a list": ({"a": list[int]}, {"a": list[str]}, ["a[] takes string instead of integer"]),
    "values of an object": ({"a": dict[str, float]}, {"a": dict[str, int]}, ["a.* takes integer instead of number"]),
}


@pytest.mark.parametrize("case", NO_LOSS)
def test_what_takes_all_of_before_has_no_loss(case: str) -> None:
    before, after = NO_LOSS[case]
    assert losses(schema_of(**before), schema_of(**after)) == []


@pytest.mark.parametrize("case", LOSS)
def test_each_loss_is_named(case: str) -> None:
    before, after, expected = LOSS[case]
    assert losses(schema_of(**before), schema_of(**after)) == expected


def test_who_took_any_other_field_takes_them_no_more() -> None:
    assert losses("{}", schema_of(a=(int, 1))) == ["the payload takes object instead of any value"]
    open_ = '{"type":"object","properties":{},"required":[]}'
    assert losses(open_, schema_of(a=(int, 1))) == ["a takes integer instead of any value", "the payload no longer takes other fields"]


def test_what_an_open_signature_may_not_have_is_no_loss() -> None:
    """The names that a call fills itself are in the schema, and no payload has them."""

    def of(function: Any) -> str:
        app = App()
        app.task("any.thing")(function)
        return app.handlers["any.thing"].schema_text

    def open_(ctx: Any, n: int, **rest: Any) -> None: ...

    def closed(ctx: Any, n: int) -> None: ...

    assert losses(of(open_), of(open_)) == []
    assert losses(of(closed), of(open_)) == []
    assert losses(of(open_), of(closed)) == ["the payload no longer takes other fields"]


def test_tuples_are_compared_with_lists() -> None:
    pair, many = schema_of(a=tuple[int, str]), schema_of(a=list[int])
    assert losses(pair, pair) == []
    assert losses(pair, many) == ["a[1] takes integer instead of string"]
    assert losses(many, pair) == ["a has a minItems of 2", "a has a maxItems of 2", "a[1] takes string instead of integer", "a[] is no longer taken"]
    assert losses(pair, schema_of(a=tuple[int, str | None])) == []
