"""Handlers with resources (`WAGGLE_APP=support.resource_handlers:app`). Each step of a resource appends a line to the file named by `EFFECTS`."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from waggle import App, Context

shared, app = App(), App()


class Settings:
    """What the others are made from."""

    shop = "bees"


class Pool:
    """A pool of connections, as it were."""

    def __init__(self, shop: str) -> None:
        self.shop, self.is_open, self.ends = shop, True, asyncio.Event()


class Plain:
    """Opened and closed in a thread."""

    thread = 0


class Unused:
    """No handler takes it."""


def note(what: str) -> None:
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(f"{what}\n")


@shared.resource
def settings() -> Iterator[Settings]:
    note("settings opened")
    yield Settings()
    note("settings closed")


async def beats(pool: Pool) -> None:
    await pool.ends.wait()
    raise ConnectionResetError("the shop's database is gone")


@shared.resource
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    """Fails `FAILING` times, and its group of tasks must be left by the task that has entered it."""
    failures = len([line for line in Path(os.environ["EFFECTS"]).read_text().splitlines() if line == "pool failed"])
    if failures < int(os.environ.get("FAILING", "0")):
        note("pool failed")
        raise ConnectionRefusedError("the shop's database")
    made = Pool(settings.shop)
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(beats(made))
        note("pool opened")
        yield made
        beating.cancel()
    made.is_open = False
    note("pool closed")


@shared.resource
def plain() -> Iterator[Plain]:
    made = Plain()
    made.thread = threading.get_ident()
    yield made
    note("plain closed")
    raise RuntimeError("it cannot be closed")


@shared.resource
async def unused() -> AsyncIterator[Unused]:
    note("unused opened")
    yield Unused()


app.include(shared)


@app.task("resource.async")
async def takes(ctx: Context, pool: Pool, n: int, plain: Plain) -> list[Any]:
    return [pool.shop, id(pool), n, plain.thread != threading.get_ident(), ctx.attempt]


@app.task("resource.thread")
def takes_in_thread(pool: Pool, **rest: Any) -> list[Any]:
    return [pool.shop, id(pool), rest]


@app.task("resource.slow")
async def slow(pool: Pool, seconds: float) -> bool:
    await asyncio.sleep(seconds)
    note(f"slow ended, open: {pool.is_open}")
    return pool.is_open


@app.task("resource.ends", max_retries=0)
async def ends(pool: Pool) -> None:
    pool.ends.set()
