"""The built-in handlers for trying things out."""

import asyncio
import math
from typing import Any, Final

from waggle.app import App
from waggle.context import Context, Reject

LOGGED_SECONDS: Final = 10

app = App()


class DemoError(Exception):
    """Raised by `demo.fail`."""


@app.task("demo.echo")
async def echo(**payload: Any) -> dict[str, Any]:
    """Returns its payload."""
    return payload


@app.task("demo.sleep")
async def sleep(ctx: Context, seconds: float = 1.0) -> dict[str, float]:
    """Sleeps for `seconds`, and logs the first ten full ones: `waggle tasks logs ID -f` shows them."""
    logged = min(max(0, math.ceil(seconds) - 1), LOGGED_SECONDS)
    for slept in range(1, logged + 1):
        await asyncio.sleep(1.0)
        ctx.log.info("still asleep", slept=slept)
    await asyncio.sleep(seconds - logged)
    return {"slept": seconds}


@app.task("demo.fail")
async def fail(message: str = "failed on request", retryable: bool = True) -> None:
    """Fails with `message`; with retries when `retryable`."""
    if retryable:
        raise DemoError(message)
    raise Reject(message)
