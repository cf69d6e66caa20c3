"""Handlers that log in each of the places where they run (`WAGGLE_APP=support.logging_handlers:app`). With CONFIGURES this module configures loggers."""

import asyncio
import logging
import os
from typing import Any

import structlog

from waggle import App, Context
from waggle.errors import TaskError

app = App()
log = logging.getLogger("shop")

if "CONFIGURES" in os.environ:
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory(), wrapper_class=structlog.make_filtering_bound_logger("critical"))
    logging.basicConfig(level=logging.CRITICAL, force=True)


class Breaks:
    """It has no text."""

    def __repr__(self) -> str:
        raise ValueError("no text")


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def say(ctx: Context) -> None:
    log.info("by the standard logger", extra={"price": 3})
    ctx.log.info("by ctx.log", odd=Breaks(), circle=circle(), half="\ud800", long="x" * 1_000_000, key={(1, 2): 3}, event=1)
    ctx.log.info("%d", "no number")


@app.task("log.thread", cleanup=lambda _ctx, _error: log.info("in a hook"))
def in_a_thread(ctx: Context, fails: bool = False) -> str:
    say(ctx)
    if fails:
        raise RuntimeError("for its hook")
    return "fine"


@app.task("log.async")
async def on_the_loop(ctx: Context) -> str:
    say(ctx)
    await asyncio.gather(later(), asyncio.to_thread(log.info, "in a thread of it"))
    return "fine"


async def later() -> None:
    await asyncio.sleep(0)
    log.info("in a task of it")


@app.task("log.process", process=True)
def in_a_process(ctx: Context) -> str:
    say(ctx)
    return "fine"


@app.task("log.much")
async def much(ctx: Context, lines: int) -> str:
    for number in range(lines):
        ctx.log.warning("a line", number=number, text="x" * 1_000)
        if number % 100 == 0:
            await asyncio.sleep(0)
    return "fine"


async def hook(_: Context, error: TaskError) -> None:
    log.info("in an async hook", extra={"code": error.code})


@app.task("log.fails", cleanup=hook)
async def fails() -> None:
    raise RuntimeError("for its hook")
