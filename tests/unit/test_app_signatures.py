"""A handler's signature is its payload's schema."""

import inspect
import pickle
from datetime import datetime
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from waggle.app import App, Handler
from waggle.context import Context
from waggle.nesting import LEVELS, TooDeep
from waggle.testing import context


def handler(function: Any, **options: Any) -> Handler:
    app = App()
    app.task("a.type", **options)(function)
    return app.handlers["a.type"]


def test_typed_parameters_are_the_payloads_fields() -> None:
    async def send(ctx: Context, to: str, subject: str, body: str = "") -> None: ...

    found = handler(send)
    assert found.takes_context
    assert found.arguments('{"to":"a@b","subject":"hello"}') == {"to": "a@b", "subject": "hello", "body": ""}


def test_a_payload_may_be_nested_to_the_limit_and_not_a_level_more() -> None:
    """The API refuses a deeper one; SQL may insert it."""

    async def send(tree: Any) -> None: ...

    found = handler(send)
    assert "tree" in found.arguments('{"tree":' + "[" * (LEVELS - 1) + "]" * (LEVELS - 1) + "}")
    with pytest.raises(TooDeep, match="nested more than 512 levels deep"):
        found.arguments('{"tree":' + "[" * LEVELS + "]" * LEVELS + "}")


def test_the_schema_names_what_is_required_and_allows_nothing_else() -> None:
    async def send(ctx: Context, to: str, size: Annotated[int, Meta(ge=1)] = 1) -> None: ...

    schema = handler(send).schema
    assert schema["type"] == "object"
    assert schema["required"] == ["to"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["to"] == {"type": "string"}
    assert schema["properties"]["size"]["minimum"] == 1


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ('{"subject":"x"}', "to"),
        ('{"to":1}', "to"),
        ('{"to":"x","other":1}', "other"),
        ("[1]", "object"),
        ("null", "object"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_the_reason(payload: str, complaint: str) -> None:
    async def send(to: str, subject: str = "") -> None: ...

    with pytest.raises(msgspec.ValidationError, match=complaint):
        handler(send).arguments(payload)


def test_a_context_is_recognised_by_its_annotation_or_by_its_name() -> None:
    async def annotated(c: Context, to: str) -> None: ...
    async def named(ctx, to: str) -> None: ...  # type: ignore[no-untyped-def]
    async def neither(to: str) -> None: ...

    assert [handler(f).takes_context for f in (annotated, named, neither)] == [True, True, False]
    assert all(handler(f).arguments('{"to":"x"}') == {"to": "x"} for f in (annotated, named, neither))


def test_a_handler_without_parameters_takes_an_empty_payload() -> None:
    async def nothing() -> None: ...

    assert handler(nothing).arguments("{}") == {}


def test_rest_parameters_take_any_other_field() -> None:
    async def echo(ctx: Context, to: str = "", **rest: Any) -> None: ...

    found = handler(echo)
    assert found.arguments('{"a":1,"to":"x"}') == {"a": 1, "to": "x"}
    assert found.arguments('{"a":1}') == {"a": 1, "to": ""}
    assert found.schema.get("additionalProperties", True) is True


def test_fields_beside_rest_parameters_are_checked_as_well() -> None:
    async def echo(to: str, **rest: Any) -> None: ...

    with pytest.raises(msgspec.ValidationError):
        handler(echo).arguments('{"to":1}')


def test_structured_fields_arrive_as_their_types() -> None:
    class Item(msgspec.Struct):
        name: str
        count: int = 1

    async def order(items: list[Item], at: datetime) -> None: ...

    order.__annotations__["items"] = list[Item]
    found = handler(order)
    arguments = found.arguments('{"items":[{"name":"x"}],"at":"2026-01-01T00:00:00Z"}')
    assert arguments["items"] == [Item("x", 1)]
    assert arguments["at"].year == 2026
    assert "$defs" in found.schema


def test_a_default_that_can_change_is_not_shared_between_calls() -> None:
    async def collect(tags: list[str] = []) -> None: ...  # noqa: B006  # what is tested

    found = handler(collect)
    found.arguments("{}")["tags"].append("x")
    assert found.arguments("{}")["tags"] == []


def test_coroutine_functions_run_on_the_loop_and_plain_ones_in_threads() -> None:
    async def on_the_loop() -> None: ...
    def in_a_thread() -> None: ...

    assert handler(on_the_loop).is_async
    assert not handler(in_a_thread).is_async


def test_parameters_that_cannot_be_given_by_name_are_refused() -> None:
    def positional(to: str, /) -> None: ...
    def variadic(*to: str) -> None: ...

    for function in (positional, variadic):
        with pytest.raises(TypeError, match="by name"):
            handler(function)


@pytest.mark.parametrize("name", ["", "Email", "1st", "a..b", "a.", ".a", "a b", "a*", "a>", "$a", "ä", "x" * 65])
def test_a_name_that_cannot_be_a_subject_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="task type"):
        App().task(name)


@pytest.mark.parametrize("name", ["a", "email.send", "a-b_c.1st", "x" * 64])
def test_names_with_dots_dashes_and_digits_are_fine(name: str) -> None:
    App().task(name)(lambda: None)


@pytest.mark.parametrize("queue", ["", "Mail", "a.b", "a b", "x" * 33])
def test_a_queue_that_cannot_name_a_consumer_is_refused(queue: str) -> None:
    with pytest.raises(ValueError, match="queue"):
        App().task("a", queue=queue)


@pytest.mark.parametrize("options", [{"max_retries": -1}, {"timeout": 0}, {"timeout": -1}])
def test_impossible_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a"):
        App().task("a", **options)


def test_a_type_has_one_handler() -> None:
    app = App()
    app.task("a")(lambda: None)
    with pytest.raises(ValueError, match="already"):
        app.task("a")


def test_apps_can_be_joined_unless_both_handle_one_type() -> None:
    one, other = App(), App()
    one.task("a")(lambda: None)
    other.task("b")(lambda: None)
    one.include(other)
    assert set(one.handlers) == {"a", "b"}
    with pytest.raises(ValueError, match="b"):
        one.include(other)


app = App()


@app.task("as.is")
def as_it_is(ctx: Context, to: str, *, copies: int = 1) -> str:
    """Send it."""
    return f"{to} {copies} {ctx.attempt}"


def test_what_the_decorator_makes_is_called_documented_and_pickled_like_the_function() -> None:
    assert as_it_is(context(), "anna", copies=2) == "anna 2 1"
    assert (as_it_is.__name__, as_it_is.__doc__, as_it_is.__module__) == ("as_it_is", "Send it.", __name__)
    assert list(inspect.signature(as_it_is).parameters) == ["ctx", "to", "copies"]
    assert pickle.loads(pickle.dumps(as_it_is)) is as_it_is  # noqa: S301  # our own
    assert as_it_is.options(delay=60) is not as_it_is


def test_one_function_can_be_the_handler_of_two_types() -> None:
    again = app.task("as.is.too")(as_it_is)
    assert (again.name, again.function) == ("as.is.too", as_it_is.function)
