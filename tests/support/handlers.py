"""The handlers of the tests (`WAGGLE_APP=support.handlers:app`). Each run leaves a line in the file that `EFFECTS` names."""

import asyncio
import os
import secrets
import sys
import threading
import time
from pathlib import Path
from typing import Any

from waggle import App, Context, Reject, Retry, Snooze

app = App()

_going = 0


def effect(ctx: Context, what: str = "ran") -> None:
    """One line, appended at once: what, task, attempt, and a nonce that no other run has."""
    if "EFFECTS" in os.environ:
        with Path(os.environ["EFFECTS"]).open("a") as file:
            file.write(f"{what} {ctx.idempotency_key} {ctx.attempt} {secrets.token_hex(4)}\n")


@app.task("test.work")
async def work(ctx: Context, seconds: float = 0.0) -> dict[str, int]:
    effect(ctx, "began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        effect(ctx, "cancelled")
        raise
    effect(ctx, "ended")
    return {"attempt": ctx.attempt}


@app.task("test.typed", queue="typed", max_retries=1, timeout=5)
async def typed(to: str, count: int = 1, tags: list[str] | None = None) -> dict[str, Any]:
    return {"to": to, "count": count, "tags": tags}


@app.task("test.thread")
def thread(ctx: Context, seconds: float = 0.0) -> dict[str, bool]:
    effect(ctx, "began")
    time.sleep(seconds)
    effect(ctx, "ended")
    return {"main": threading.current_thread() is threading.main_thread()}


@app.task("test.watchful")
def watchful(ctx: Context) -> None:
    """A thread that looks whether anybody still waits for it."""
    effect(ctx, "began")
    while not ctx.cancelled:
        time.sleep(0.01)
    effect(ctx, "noticed")


@app.task("test.flaky")
async def flaky(ctx: Context, failures: int) -> str:
    """Fails so many times, then works."""
    if ctx.task.retry_count < failures:
        raise RuntimeError(f"failure {ctx.task.retry_count + 1}")
    return "at last"


@app.task("test.final", dead_letter=False, max_retries=0)
async def final() -> None:
    raise RuntimeError("no dead letter for this type")


@app.task("test.reject")
async def reject() -> None:
    raise Reject("never")


@app.task("test.retry")
async def retry(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise Retry(after=0.0, reason="again, please")


@app.task("test.snooze")
async def snooze(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise Snooze(0.0)
    return ctx.attempt


@app.task("test.big")
async def big(size: int) -> str:
    return "x" * size


@app.task("test.odd")
async def odd() -> object:
    return object()


@app.task("test.exit")
async def leave() -> None:
    sys.exit(3)


@app.task("test.stubborn")
async def stubborn(ctx: Context, seconds: float) -> None:
    """Does not end when it is cancelled."""
    effect(ctx, "began")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            effect(ctx, "ignored")


@app.task("test.poison")
async def poison(ctx: Context) -> None:
    """Takes its whole process with it."""
    effect(ctx, "began")
    os._exit(1)


@app.task("test.together")
async def together(seconds: float = 0.05) -> int:
    """How many of these run at once, itself included."""
    global _going  # noqa: PLW0603  # counted over all runs of one process
    _going += 1
    most = _going
    await asyncio.sleep(seconds)
    most = max(most, _going)
    _going -= 1
    return most
