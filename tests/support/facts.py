"""Waiting for facts: a test never sleeps for an outcome; it waits for it with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

LOOK_EVERY = 0.01
ANSWER_SECONDS = 30.0
"""Limits one check of a fact, which may query a slow server."""


@overload
async def until(fact: Callable[[], Awaitable[T | None]], seconds: float = 10.0, what: str = "") -> T: ...
@overload
async def until(fact: Callable[[], T | None], seconds: float = 10.0, what: str = "") -> T: ...
async def until(fact: Callable[[], object], seconds: float = 10.0, what: str = "") -> object:
    """Wait until `fact()` returns (or, when it is async, resolves to) something true, and return it. Fails after `seconds`, with the last value."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look(fact, seconds, what)
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or source(fact)} (the last value was {found!r})")
        await asyncio.sleep(LOOK_EVERY)


async def never(fact: Callable[[], object], seconds: float, what: str = "") -> None:
    """Check for `seconds` that `fact()` stays false. Only for events that no other fact rules out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await look(fact, seconds, what)
        assert not found, f"happened: {what or source(fact)} ({found!r})"
        await asyncio.sleep(LOOK_EVERY)


async def look(fact: Callable[[], object], seconds: float, what: str) -> object:
    """The value of the fact now."""
    found = fact()
    if not inspect.isawaitable(found):
        return found
    try:
        async with asyncio.timeout(seconds + ANSWER_SECONDS) as limit:
            return await found
    except TimeoutError:
        if limit.expired():
            raise AssertionError(f"no answer at all within {seconds + ANSWER_SECONDS:g} s: {what or source(fact)}") from None
        raise


def source(fact: Callable[[], object]) -> str:
    return inspect.getsource(fact).strip()
