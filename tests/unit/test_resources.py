"""What can be a resource, and which handlers can take it; errors name function, file and line where it is declared."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Generic, TypeVar

import pytest

from waggle import App, Context
from waggle.resources import in_order

T = TypeVar("T")


class Pool:
    pass


class Box(Generic[T]):
    pass


async def pool() -> AsyncIterator[Pool]:
    yield Pool()


def numbers() -> Generator[Box[int], None, None]:
    yield Box()


def texts(of: Box[int], pool: Pool) -> Iterator[Box[str]]:
    yield Box()


def test_the_payload_has_no_field_for_it_and_a_call_is_an_ordinary_call() -> None:
    app = App()
    assert app.resource(pool) is pool

    @app.task("some.thing")
    def handler(ctx: Context, n: int, pool: Pool, *, other: str = "") -> object:
        return pool

    found = app.handlers["some.thing"]
    assert set(found.schema["properties"]) == {"n", "other"}
    assert {name: resource.function for name, resource in found.resources.items()} == {"pool": pool}
    assert handler(None, 1, "mine") == "mine"  # type: ignore[arg-type]


async def replica() -> AsyncIterator[Annotated[Pool, "replica"]]:
    yield Pool()


def test_two_of_a_class_are_told_apart_by_an_annotation() -> None:
    app = App()
    app.resource(pool)
    app.resource(replica)

    @app.task("some.thing")
    def handler(first: Pool, second: Annotated[Pool, "replica"]) -> None: ...

    assert {name: resource.function for name, resource in app.handlers["some.thing"].resources.items()} == {"first": pool, "second": replica}


def test_they_are_told_apart_by_their_whole_type_and_opened_after_what_they_need() -> None:
    app = App()
    for function in (numbers, pool, texts):
        app.resource(function)

    @app.task("some.thing")
    def handler(of: Box[str], numbers: Box[int]) -> None: ...

    assert [resource.function for resource in in_order(app.handlers["some.thing"].resources.values())] == [numbers, pool, texts]


def test_an_app_that_includes_another_one_has_its_resources() -> None:
    shared, first, second = App(), App(), App()
    shared.resource(pool)
    for app in (first, second):
        app.include(shared)
    first.include(second)

    @first.task("some.thing")
    def handler(pool: Pool) -> None: ...

    assert first.handlers["some.thing"].resources.keys() == {"pool"}
    third = App()
    third.resource(other_pool)
    with pytest.raises(ValueError, match=r"^two resources yield Pool: .*other_pool \(.*\.py:\d+\) and .*pool \(.*\.py:\d+\)$"):
        third.include(shared)


async def other_pool() -> AsyncIterator[Pool]:
    yield Pool()


def unannotated():  # type: ignore[no-untyped-def]
    yield Pool()


async def bare() -> AsyncIterator:  # type: ignore[type-arg]
    yield Pool()


def text() -> Iterator[str]:
    yield ""


def listed() -> Iterator[list[Pool]]:
    yield []


def context() -> Iterator[Context]:
    yield None  # type: ignore[misc]


def either() -> Iterator[Pool | None]:
    yield None


@asynccontextmanager
async def managed() -> AsyncIterator[Pool]:
    yield Pool()


def returns() -> Pool:
    return Pool()


def needs(pool: Pool) -> Iterator[Box[int]]:
    yield Box()


def misspelt() -> "Iterator[Pol]":  # type: ignore[name-defined]  # noqa: F821
    yield Pool()


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (unannotated, r"does not say what it yields: annotate it as -> Iterator\[…\]$"),
        (bare, r"does not say what it yields: annotate it as -> AsyncIterator\[…\]$"),
        (text, "yields str, which does not tell it from a field of a payload: yield an object of a class$"),
        (listed, "which does not tell it from a field"),
        (either, "which does not tell it from a field"),
        (context, "yields Context, which does not"),
        (managed, "is no generator function: write one with a single yield, without @contextmanager and without parentheses$"),
        (returns, "is no generator function"),
        (Pool, "is no generator function"),
        (needs, "no resource that was declared before it yields the type of its parameter 'pool'$"),
        (misspelt, "its annotation .* cannot be read: name 'Pol' is not defined"),
    ],
)
def test_what_cannot_be_one_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(TypeError, match=rf"^resource .*\(.*\.py:\d+\).*{why}") if function is not Pool else pytest.raises(TypeError, match=why):
        App().resource(function)


def test_a_second_one_of_a_type_is_refused() -> None:
    app = App()
    app.resource(pool)
    with pytest.raises(ValueError, match="two resources yield Pool"):
        app.resource(other_pool)


def test_a_handler_in_a_process_of_its_own_cannot_take_one() -> None:
    app = App()
    app.resource(pool)
    with pytest.raises(TypeError, match=r"^task some\.thing: parameter 'pool' of .* is a resource, which a handler with process=True does not have"):

        @app.task("some.thing", process=True)
        def handler(pool: Pool) -> None: ...


def test_a_resource_that_cannot_be_passed_by_name_is_refused() -> None:
    app = App()
    app.resource(pool)
    with pytest.raises(TypeError, match=r"parameter 'pool' of .* must be one that can be passed by name"):

        @app.task("some.thing")
        def handler(pool: Pool, /) -> None: ...
