"""A stub of task types is a module whose calls make payloads that the handlers read."""

import types
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest

from waggle import App, Context
from waggle_cli.views import stub

app = App()


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    sku: str
    count: int = 1
    gift: "Line | None" = None


class Odd(msgspec.Struct, rename={"from_": "from"}):
    from_: str


@app.task("shop.order")
async def order(
    ctx: Context,
    id: UUID,  # noqa: A002  # a usual name of a field
    lines: list[Line],
    at: datetime | None = None,
    price: Decimal = Decimal("1.5"),
    note: str = "none",
    pair: tuple[int, str] = (1, "a"),
    tags: dict[str, float] | None = None,
    mode: Literal["fast", "safe"] = "fast",
    colour: Colour = Colour.RED,
    raw: bytes = b"",
    wants: bool = True,
) -> None: ...


@app.task("class.import")
def import_(odd: Odd, **rest: int) -> None: ...


@app.task("nothing")
def nothing() -> None: ...


def made(*names: str) -> Any:
    """The module of these types."""
    module: Any = types.ModuleType("shop_types")
    exec(stub.module([{"name": name, "schema": app.handlers[name].schema} for name in names]), module.__dict__)  # noqa: S102  # what the test is about
    return module


def test_what_it_submits_the_handler_reads() -> None:
    shop = made("shop.order", "class.import", "nothing")
    moment = datetime(2026, 11, 29, tzinfo=UTC)
    fields = {"id": UUID(int=1), "at": moment, "price": Decimal("2.5"), "pair": (2, "b"), "tags": {"a": 1.5}, "raw": b"\x00", "mode": "safe", "colour": "blue"}
    sent = msgspec.json.decode(shop.shop_order.prepare(lines=[{"sku": "a", "gift": {"sku": "b"}}], **fields).text)
    assert sent["type"] == "shop.order"
    read = app.handlers["shop.order"].arguments(msgspec.json.encode(sent["payload"]).decode())
    assert read == {**fields, "lines": [Line("a", 1, Line("b"))], "colour": Colour.BLUE, "note": "none", "wants": True}
    assert b'"payload":{"odd":{"from":"x"},"more":1}' in shop.class_import.prepare(odd={"from": "x"}, more=1).text
    assert b'"payload":{}' in shop.nothing.prepare().text


def test_a_wrong_call_is_refused_before_anything_is_sent() -> None:
    shop = made("shop.order", "nothing")
    for call in (lambda: shop.shop_order.prepare(lines=[]), lambda: shop.shop_order.prepare(id=1, lines=[], nte=""), lambda: shop.nothing.prepare(1)):
        with pytest.raises(TypeError):
            call()


def test_each_field_has_its_type() -> None:
    text = stub.module([{"name": "shop.order", "schema": app.handlers["shop.order"].schema}])
    for part in (
        "class ShopOrderLine(TypedDict):\n    sku: str\n    count: NotRequired[int]\n    gift: NotRequired[ShopOrderLine | None]",
        "*, id: UUID, lines: list[ShopOrderLine], at: datetime | None = omitted, price: Decimal | float = omitted, note: str = 'none',",
        "pair: tuple[int, str] = omitted, tags: dict[str, float] | None = omitted, mode: Literal['fast', 'safe'] = omitted,",
        "ShopOrderColour = Literal['blue', 'red']",
        "raw: bytes = omitted, wants: bool = True) -> Any: ...",
    ):
        assert part in text


def test_names_that_python_does_not_have_are_named() -> None:
    schema = {"type": "object", "properties": {"from": {"type": "string"}, "to": {"type": "string"}}, "required": ["to"], "additionalProperties": False}
    text = stub.module([{"name": "mail-1.send", "schema": schema}])
    assert "def mail_1_send(*, to: str, **fields: Any) -> Any: ...  # also: 'from'" in text


def test_two_types_that_would_have_one_name_have_two() -> None:
    text = stub.module([{"name": name, "schema": {"type": "object", "additionalProperties": False}} for name in ("a.b", "a_b", "app")])
    assert "def a_b() -> Any" in text
    assert "def a_b_() -> Any" in text
    assert "def app_() -> Any" in text


def test_what_it_does_not_know_is_any_and_none_is_an_empty_module() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {}, "b": {"not": {}}, "c": {"enum": [1.5]}}, "additionalProperties": False}
    assert "def x(*, a: Any = omitted, b: Any = omitted, c: Any = omitted) -> Any: ..." in stub.module([{"name": "x", "schema": schema}])
    assert "app = App()\n" in stub.module([])
