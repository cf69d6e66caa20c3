"""The values that a handler gets, and the schema that says what it takes."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import msgspec
import pytest
from msgspec import Meta

from waggle.app import App, Handler
from waggle.context import Context


@dataclass
class Money:
    amount: Annotated[float, Meta(multiple_of=0.01)]
    currency: str = "EUR"


@dataclass
class Part:
    name: str
    parts: "list[Part]"


def handler(function: Any) -> Handler:
    app = App()
    app.task("a.type")(function)
    return app.handlers["a.type"]


def of(annotation: Any) -> Handler:
    async def function(v: Any) -> None: ...

    function.__annotations__["v"] = annotation
    return handler(function)


@pytest.mark.parametrize(
    ("annotation", "sent", "received"),
    [
        (int, "3.0", 3),
        (int, "1e2", 100),
        (int, "1e23", 10**23),
        (int, "1e-400", 0),
        (Annotated[int, Meta(le=10**17)], "100000000000000001.0", 10**17),  # as a double, which is what the door sees
        (int | str, "3.0", 3),
        (int | float, "3.0", 3.0),
        (Literal[1] | float, "2", 2.0),
        (Literal[1, 2], "1.0", 1),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal | None, "12345678901234567890.12", Decimal("12345678901234567890.12")),
        (dict[str, int | Decimal], '{"a": 1.0, "b": 1.50}', {"a": Decimal("1.0"), "b": Decimal("1.50")}),
        (set[int], "[1, 1.0]", {1}),
        (Money, '{"amount": 19.99}', Money(19.99)),
        (dict[int, Money] | None, '{"7": {"amount": 19.99}}', {7: Money(19.99)}),
    ],
)
def test_a_value_arrives_as_its_type(annotation: Any, sent: str, received: Any) -> None:
    found = of(annotation).arguments(f'{{"v": {sent}}}')["v"]
    assert found == received
    assert type(found) is type(received)


def test_what_stands_beside_a_whole_number_that_is_written_as_a_float_keeps_its_type() -> None:
    async def function(count: int, anything: Any, price: Decimal) -> None: ...

    found = handler(function).arguments('{"count": 2.0, "anything": [2.0, {"a": 1.5}], "price": 1.10}')
    assert found == {"count": 2, "anything": [2.0, {"a": 1.5}], "price": Decimal("1.10")}
    assert type(found["anything"][0]) is float
    assert str(found["price"]) == "1.10"


@pytest.mark.parametrize("sent", ['{"name": "a", "parts": [], "x": 1}', '{"name": "a", "parts": [{"name": "b", "parts": [{"nme": "c"}]}]}'])
def test_an_unknown_field_is_refused_at_any_depth(sent: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        of(Part).arguments(f'{{"v": {sent}}}')


def test_of_a_repeated_field_the_last_value_counts() -> None:
    assert of(Money).arguments('{"v": 5, "v": {"amount": "x", "amount": 1}}') == {"v": Money(1.0)}


class Mailer:
    async def send(self, ctx: Context, **rest: Any) -> None: ...


async def named(ctx: Context, **rest: Any) -> None: ...
async def by_place(ctx: Context, /, **rest: Any) -> None: ...
async def without_context(to: str = "", **rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "refused", "taken"),
    [(named, ["ctx"], ["self"]), (by_place, [], ["ctx"]), (without_context, [], ["ctx", "self"]), (Mailer().send, ["ctx", "self"], ["to"])],
)
def test_no_field_takes_the_place_of_what_the_call_fills(function: Any, refused: list[str], taken: list[str]) -> None:
    found = handler(function)
    assert {name for name, rule in found.schema["properties"].items() if rule is False} == set(refused)
    for name in refused:
        with pytest.raises(msgspec.ValidationError, match=f"unknown field `{name}`"):
            found.arguments(f'{{"{name}": 5}}')
    for name in taken:
        assert found.arguments(f'{{"{name}": 5}}')[name] == 5


def test_a_pattern_is_announced_for_all_and_as_it_was_written() -> None:
    schema = of(Annotated[str, Meta(pattern=r"^\w+$")]).schema["properties"]["v"]
    assert schema == {"type": "string", "pattern": r"^[\p{L}\p{N}_]+\n?$", "pythonPattern": r"^\w+$"}
    assert of(Annotated[str, Meta(pattern="(?i)^a")]).schema["properties"]["v"] == {"type": "string", "pythonPattern": "(?i)^a"}


def test_two_classes_of_one_name_have_definitions_of_their_own() -> None:
    def other() -> type:
        class Money(msgspec.Struct):
            cents: int

        return Money

    definitions = of(dict[str, tuple[Money, other()]]).schema["$defs"]  # type: ignore[misc]
    assert len(definitions) == 2
    assert [set(one["properties"]) for one in definitions.values()] == [{"amount", "currency"}, {"cents"}]


@pytest.mark.parametrize("annotation", [set[Money], frozenset[list[int]], set[tuple[int, Part]], set[dict[str, int] | int]])
def test_a_set_of_what_no_set_can_hold_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match="a set cannot hold"):
        of(annotation)


def test_a_set_of_anything_takes_what_a_set_can_hold() -> None:
    assert of(set).schema["properties"]["v"]["items"] == {"type": ["string", "number", "boolean", "null"]}


Price = NewType("Price", float)


def test_a_price_may_have_another_name() -> None:
    found = of(Annotated[Price, Meta(multiple_of=0.01)] | None)
    assert found.arguments('{"v": 19.99}') == {"v": 19.99}
    with pytest.raises(msgspec.ValidationError):
        found.arguments('{"v": 19.995}')


T = TypeVar("T")


@dataclass
class Labelled(Generic[T]):
    value: T
    price: Annotated[float, Meta(multiple_of=0.01)] = 0.0


def test_a_class_may_be_generic() -> None:
    assert of(list[Labelled[int]]).arguments('{"v": [{"value": 1.0, "price": 19.99}]}') == {"v": [Labelled(1, 19.99)]}


def test_what_stays_raw_keeps_its_digits() -> None:
    raw = of(tuple[msgspec.Raw, int]).arguments('{"v": [{"price": 1.50}, 2.0]}')["v"][0]
    assert bytes(raw) == b'{"price":1.50}'


def test_a_type_that_json_cannot_hold_is_refused_with_its_name() -> None:
    class Odd: ...

    with pytest.raises(TypeError, match="Odd"):
        of(Odd)
