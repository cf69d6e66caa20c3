"""Handlers that call a service behind a circuit breaker (`WAGGLE_APP=support.breaker_handlers:app`)."""

import asyncio
import urllib.request

import aiohttp

from support.handlers import effect
from waggle import App, Context

app = App()


async def fetch(url: str) -> str:
    async with aiohttp.request("GET", url) as response:
        response.raise_for_status()
        return await response.text()


@app.task("call.async")
async def call(ctx: Context, url: str, breaker: str = "service") -> str:
    async with ctx.breaker(breaker):
        return await fetch(url)


@app.task("call.other", queue="other")
async def call_from_elsewhere(ctx: Context, url: str, breaker: str = "service") -> str:
    """In a queue of its own, so that a test can choose the worker that runs it."""
    async with ctx.breaker(breaker):
        return await fetch(url)


@app.task("call.thread")
def call_in_a_thread(ctx: Context, url: str, breaker: str = "thread") -> str:
    with ctx.breaker(breaker), urllib.request.urlopen(url) as response:  # noqa: S310  # the test's own
        return str(response.status)


@app.task("call.whole", breaker="whole")
async def call_as_a_whole(url: str) -> str:
    """The whole handler runs behind the breaker."""
    return await fetch(url)


@app.task("call.nobody")
async def call_nobody(ctx: Context, seconds: float) -> None:
    """Uses no breaker."""
    effect(ctx, "began")
    await asyncio.sleep(seconds)
    effect(ctx, "ended")


@app.task("call.counted", breaker="counted")
async def call_and_tell(ctx: Context, url: str) -> None:
    """Leaves a line when its call succeeded."""
    await fetch(url)
    effect(ctx, "ended")


@app.task("call.process", breaker="process", process=True)
def call_in_a_process(url: str) -> str:
    with urllib.request.urlopen(url) as response:  # noqa: S310
        return str(response.status)
