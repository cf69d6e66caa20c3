"""The built-in handlers for trying things out."""

import asyncio
from typing import Any

from waggle.app import App
from waggle.context import Reject

app = App()


class DemoError(Exception):
    """Raised by `demo.fail`."""


@app.task("demo.echo")
async def echo(**payload: Any) -> dict[str, Any]:
    """Returns its payload."""
    return payload


@app.task("demo.sleep")
async def sleep(seconds: float = 1.0) -> dict[str, float]:
    """Sleeps for `seconds`."""
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@app.task("demo.fail")
async def fail(message: str = "failed on request", retryable: bool = True) -> None:
    """Fails with `message`; with retries when `retryable`."""
    if retryable:
        raise DemoError(message)
    raise Reject(message)
