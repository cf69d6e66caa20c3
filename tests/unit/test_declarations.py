"""What cannot be a handler or a hook is refused where it is declared, in a sentence with the task, the parameter, and where the function is."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pydantic
import pytest
from msgspec import Meta

from waggle import App, Backoff, Context, payload_schema
from waggle.app import Handler
from waggle.declarations import place

if TYPE_CHECKING:
    from collections import OrderedDict as Ordered

HERE = re.escape(__file__)


def handler(function: Any, **options: Any) -> Handler:
    app = App()
    app.task("a.type", **options)(function)
    return app.handlers["a.type"]


def plain() -> None: ...


def numbers() -> Iterator[int]:
    yield 1


async def later_numbers() -> AsyncIterator[int]:
    yield 1


class Numbers:
    def __call__(self) -> Iterator[int]:
        yield 1

    def method(self) -> Iterator[int]:
        yield 1

    def unbound(self, to: str) -> None: ...


NO_HANDLERS: dict[str, tuple[object, str]] = {
    "a generator": (numbers, rf"the handler numbers \({HERE}:\d+\) is a generator"),
    "an async generator": (later_numbers, rf"the handler later_numbers \({HERE}:\d+\) is a generator"),
    "an object that generates": (Numbers(), rf"the handler Numbers.__call__ \({HERE}:\d+\) is a generator"),
    "a method that generates": (Numbers().method, r"the handler Numbers.method .* is a generator"),
    "a partial of a generator": (functools.partial(numbers), r"the handler numbers .* is a generator"),
    "a class": (Numbers, rf"the handler Numbers \({HERE}:\d+\) is a class; declare a function"),
    "a number": (5, r"the handler 5 cannot be called"),
    "a classmethod": (classmethod(numbers), r"the handler .* cannot be called"),
    "a function of a class": (Numbers.unbound, r"parameter 'self' of Numbers.unbound .* has no object"),
    "a builtin without names": (max, r"max does not tell its parameters"),
    "a wrapper without names": (lambda *_, **__: None, r"parameter '_' of .* by name; .* needs functools.wraps"),
}


@pytest.mark.parametrize("case", NO_HANDLERS)
def test_what_cannot_be_a_handler_is_refused(case: str) -> None:
    function, message = NO_HANDLERS[case]
    with pytest.raises(TypeError, match=f"^task a.type: {message}"):
        handler(function)


def rejects(hook: object) -> str:
    with pytest.raises(TypeError) as refused:
        handler(plain, cleanup=hook)
    return str(refused.value)


def test_hooks_are_checked_as_handlers_are() -> None:
    assert "task a.type: the cleanup hook numbers (" in rejects(numbers)
    assert "is a class" in rejects(Numbers)
    assert "cannot be called" in rejects("tidy")
    assert re.search(rf"the cleanup hook plain \({HERE}:\d+\) must accept \(ctx, error\): too many positional arguments", rejects(plain))


def test_a_decorator_without_parentheses_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=rf'plain \({HERE}:\d+\): write @app.task\("a.name"\)'):
        App().task(plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": 1001}, "max_retries must be from 0 to 1000, not 1001"),
        ({"max_retries": -1}, "max_retries must be from 0 to 1000, not -1"),
        ({"max_retries": 1.0}, "max_retries must be a whole number, not 1.0"),
        ({"max_retries": True}, "max_retries must be a whole number, not True"),
        ({"max_retries": "3"}, "max_retries must be a whole number, not '3'"),
        ({"timeout": 604_801}, "timeout must be more than 0 and at most 604800 seconds, not 604801"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": float("nan")}, "timeout must be more than 0"),
        ({"timeout": float("inf")}, "timeout must be more than 0"),
        ({"timeout": None}, "timeout must be a number of seconds, not None"),
        ({"timeout": timedelta(seconds=5)}, "timeout must be a number of seconds, not datetime.timedelta"),
        ({"queue": None}, "queue None must match"),
    ],
)
def test_an_option_that_no_submission_could_have_is_refused_with_the_line_that_gives_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^task a.type \({HERE}:\d+\): .*{re.escape(message)}"):
        App().task("a.type", **options)


def test_the_largest_options_of_a_submission_are_accepted() -> None:
    found = handler(plain, max_retries=1000, timeout=604_800)
    assert (found.max_retries, found.timeout) == (1000, 604_800)


class Colour(Enum):
    RED = "red"


class Item(msgspec.Struct):
    name: str


class Model(pydantic.BaseModel):
    name: str
    count: int = pydantic.Field(default=1, ge=1)
    at: datetime | None = None


def with_default(hint: Any, default: object) -> Callable[..., None]:
    def function(v=None) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__["v"], function.__defaults__ = hint, (default,)
    return function


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (str, None),
        (str, 5),
        (int, "5"),
        (int, 1.0),
        (int, True),
        (bool, 1),
        (bytes, "text"),
        (date, "2026-01-01"),
        (timedelta, "PT1S"),
        (Decimal, "1.5"),
        (Colour, "red"),
        (Item, {"name": "x"}),
        (Model, {"name": "x"}),
        (list[int], ["x"]),
        (list[int], None),
        (int | None, "x"),
        (Annotated[int, Meta(ge=1)], 0),
        (int, pydantic.Field(default=1)),
    ],
    ids=repr,
)
def test_a_default_of_the_wrong_type_is_refused(hint: Any, default: object) -> None:
    with pytest.raises(TypeError, match=rf"^task a.type: parameter 'v' of .*function \({HERE}:\d+\) has the default .*, which is no "):
        handler(with_default(hint, default))


def test_a_default_of_none_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"has the default None, which is no str \(expected str, got null\); annotate it as str \| None"):
        handler(with_default(str, None))


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (Any, object),
        (str | None, None),
        (float, 1),
        (Sequence[str], ()),
        (list[int], (1, 2)),
        (set[str], frozenset()),
        (dict[str, Item], {"a": Item("x")}),
        (Colour, Colour.RED),
        (date, date(2026, 1, 1)),
        (Decimal, Decimal("1.5")),
        (Item, Item("x")),
        (Model, Model(name="x")),
        (list[Model], [Model(name="x")]),
        (int | msgspec.UnsetType, msgspec.UNSET),
    ],
    ids=repr,
)
def test_a_default_of_the_type_arrives_as_it_is(hint: Any, default: object) -> None:
    assert handler(with_default(hint, default)).arguments("{}") == {"v": default}


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (re.Pattern, "cannot be read from JSON; use a builtin type"),
        (object, "cannot be read from JSON"),
        (Callable[[], None], "cannot be read from JSON"),
        (list[Numbers], "cannot be read from JSON"),
        (Annotated[Numbers, Meta(extra_json_schema={"type": "object"})], "cannot be read from JSON"),
        (list[int] | tuple[int, ...], "may not contain more than one array-like"),
        ("Nowhere", "its annotation 'Nowhere' cannot be read: name 'Nowhere' is not defined"),
        (Context, "is a context, which only the first parameter can be"),
    ],
    ids=repr,
)
def test_a_type_that_cannot_be_read_is_refused_with_its_parameter(hint: Any, message: str) -> None:
    def function(to: str, v: int) -> None: ...

    function.__annotations__["v"] = hint
    with pytest.raises(TypeError, match=rf"^task a.type: parameter 'v' of .*function \({HERE}:\d+\).* {message}"):
        handler(function)


def test_a_return_type_that_is_only_there_for_a_type_checker_does_no_harm() -> None:
    def function(to: str) -> "Ordered[str, int]": ...

    assert handler(function).arguments('{"to": "x"}') == {"to": "x"}


def test_a_model_is_read_with_its_own_checks() -> None:
    def function(order: Model, more: list[Model] = []) -> None: ...  # noqa: B006  # what is tested

    found = handler(function)
    arguments = found.arguments('{"order": {"name": "x", "at": "2026-01-01T00:00:00Z"}, "more": [{"name": "y", "count": 2}]}')
    assert arguments == {"order": Model(name="x", at=datetime(2026, 1, 1, tzinfo=UTC)), "more": [Model(name="y", count=2)]}
    with pytest.raises(msgspec.ValidationError, match=r"name: Field required; count: Input should be greater than or equal to 1 - at `\$.order`"):
        found.arguments('{"order": {"count": 0}}')


def test_an_error_of_a_model_does_not_show_the_value() -> None:
    def function(order: Model) -> None: ...

    with pytest.raises(msgspec.ValidationError) as refused:
        handler(function).arguments('{"order": {"name": ["a secret"]}}')
    assert "a secret" not in str(refused.value)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    at: datetime


class Node(pydantic.BaseModel):
    value: Annotated[int, pydantic.Field(ge=0)]
    kids: "list[Node]" = []


def holders() -> tuple[type[pydantic.BaseModel], type[pydantic.BaseModel]]:
    """Two models that have an `Inner` each."""

    def one() -> type[pydantic.BaseModel]:
        class Inner(pydantic.BaseModel):
            a: int

        class One(pydantic.BaseModel):
            inner: Inner

        return One

    def other() -> type[pydantic.BaseModel]:
        class Inner(pydantic.BaseModel):
            b: str

        class Other(pydantic.BaseModel):
            inner: Inner

        return Other

    return one(), other()


def test_a_strict_model_takes_what_json_can_say() -> None:
    def function(v: Strict) -> None: ...

    assert handler(function).arguments('{"v": {"at": "2026-01-01T00:00:00Z"}}')["v"].at.year == 2026


def test_a_strict_model_takes_a_whole_number_that_json_writes_as_a_fraction() -> None:
    class Counts(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        n: int
        of: list[int]

    def function(v: Counts) -> None: ...

    assert handler(function).arguments('{"v": {"n": 3.0, "of": [1e2]}}')["v"].of == [100]
    with pytest.raises(msgspec.ValidationError, match="valid integer"):
        handler(function).arguments('{"v": {"n": 3.5, "of": []}}')


def test_a_door_leaves_to_a_model_what_it_would_check_in_another_way() -> None:
    class Times(pydantic.BaseModel):
        when: datetime
        naive: pydantic.NaiveDatetime
        last: timedelta
        days: set[int]
        format: str = "x"

    def function(v: Times) -> None: ...

    found, payload = handler(function), '{"v": {"when": "2024-01-01T00:00", "naive": "2024-01-01T00:00:00", "last": "P1M", "days": [1, 1]}}'
    assert payload_schema.of_type("a.type", (found.schema_text,), ()).fits(msgspec.json.decode(payload), payload)
    assert found.arguments(payload)["v"].days == {1}
    assert "format" in found.schema["properties"]["v"]["properties"]


def test_a_model_with_secrets_has_one_name_for_each_field() -> None:
    class Inner(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(populate_by_name=True)
        password: pydantic.SecretStr = pydantic.Field(alias="passWord")

    class Outer(pydantic.BaseModel):
        inner: list[Inner] | None = None

    class Choice(pydantic.BaseModel):
        token: pydantic.SecretStr = pydantic.Field(validation_alias=pydantic.AliasChoices("tok", "token"))

    class Fine(pydantic.BaseModel):
        password: pydantic.SecretStr = pydantic.Field(alias="passWord")

    def function(v: int) -> None: ...

    for kind, names in ((Inner, "passWord, password"), (Outer, "passWord, password"), (Choice, "tok, token")):
        function.__annotations__["v"] = kind
        with pytest.raises(TypeError, match=rf"has several names \({names}\): give it one"):
            handler(function)
    function.__annotations__["v"] = Fine
    assert handler(function).has_secrets


def test_a_default_is_taken_that_a_payload_may_have() -> None:
    def function(v: Annotated[float, Meta(multiple_of=0.01)] = 19.99) -> None: ...

    assert handler(function).arguments("{}") == {"v": 19.99}


def test_every_reference_of_the_schema_of_models_leads_somewhere() -> None:
    def function(tree, one, other, struct) -> None: ...  # type: ignore[no-untyped-def]

    one, other = holders()
    function.__annotations__.update({"tree": Node, "one": one, "other": other, "struct": Item})
    schema = handler(function).schema
    references = set(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', msgspec.json.encode(schema).decode()))
    assert len(references) == 4
    assert references <= schema["$defs"].keys()
    assert {tuple(definition["properties"]) for definition in schema["$defs"].values()} == {("value", "kids"), ("a",), ("b",), ("name",)}
    assert "$defs" not in schema["properties"]["tree"]


def test_the_place_of_a_wrapped_function_is_its_own() -> None:
    @functools.wraps(plain)
    def wrapper() -> None: ...

    line = plain.__code__.co_firstlineno
    for function in (plain, wrapper, functools.partial(plain), functools.partial(wrapper)):
        assert place(function) == f"plain ({__file__}:{line})"


async def later(attempt: int) -> float:
    return attempt


@pytest.mark.parametrize(
    ("backoff", "message"),
    [
        (5, "not 5; a fixed wait is Backoff.fixed"),
        ("exponential", "not 'exponential'"),
        (plain, r"and plain \(.*\) does not take that: too many positional arguments"),
        (later, r"and later \(.*\) is async"),
        (Backoff, r"the backoff Backoff \(.*\) is a class"),
    ],
)
def test_what_is_no_backoff_is_refused(backoff: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^task a.type.*{message}"):
        handler(plain, backoff=backoff)


def test_a_backoff_is_one_that_waggle_makes_or_a_function_of_the_try() -> None:
    assert handler(plain, backoff=Backoff.fixed(5)).backoff == Backoff.fixed(5)
    assert callable(handler(plain, backoff=lambda attempt: attempt).backoff)
    assert handler(plain).backoff is None
