"""Loops in the test process: a loop of a service, run alone, or one of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

END_SECONDS: Final = 20.0
STEP_SECONDS: Final = 120.0


@asynccontextmanager
async def loop(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run it for the length of the block; an exception that escapes it fails the test."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        await ended(task)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait until it ends; raises what escaped it. Fails, with the place where it waits, when it does not end."""
    task.cancel()
    await asyncio.wait([task], timeout=END_SECONDS)
    if not task.done():
        place = task.get_stack(limit=1)
        task.cancel()  # a second one often ends it, when the first was lost
        await asyncio.wait([task], timeout=END_SECONDS)
        raise AssertionError(f"{task.get_coro()} was cancelled and did not end within {END_SECONDS:g} s, at {place}")
    if not task.cancelled():
        task.result()


@asynccontextmanager
async def again_and_again(step: Callable[[], Awaitable[None]], every: float) -> AsyncIterator[None]:
    """Call `step` every `every` seconds for the length of the block; the last call is finished."""
    over = asyncio.Event()

    async def steps() -> None:
        while not over.is_set():
            await step()
            await asyncio.sleep(every)

    stepping = asyncio.create_task(steps())
    try:
        yield
    finally:
        over.set()
        async with asyncio.timeout(STEP_SECONDS):
            await stepping
