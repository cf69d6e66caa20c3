"""A service's loop inside the test's own process, where a test wants to see one step closely."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def loop(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs for the length of the block; what escapes it fails the test."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
