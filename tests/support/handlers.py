"""The handlers of the tests (`WAGGLE_APP=support.handlers:app`). Each run appends a line to the file named by `EFFECTS`."""

import asyncio
import contextvars
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

from waggle import App, Context, Reject, Retry, Secret, Snooze
from waggle.errors import TaskError

app = App()

_going = 0


def effect(ctx: Context, what: str = "ran") -> None:
    """Append one line: what happened, task, attempt, and a nonce unique to this run."""
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


@app.task("test.emits")
async def emits(ctx: Context, values: int, tries: int = 1) -> None:
    for number in range(values):
        await ctx.emit({"n": number})
        await asyncio.sleep(0.01)
    if ctx.attempt < tries:
        raise Retry(after=0.1)


@app.task("test.emits_in_a_thread")
def emits_in_a_thread(ctx: Context) -> None:
    for value in ("a", "b", {"c": 1}):
        ctx.emit(value)


@app.task("test.emits_too_much")
async def emits_too_much(ctx: Context) -> None:
    await ctx.emit("x" * 65_536)


@app.task("test.typed", queue="typed", max_retries=1, timeout=5)
async def typed(to: str, count: int = 1, tags: list[str] | None = None) -> dict[str, Any]:
    return {"to": to, "count": count, "tags": tags}


@app.task("test.measured")
async def measured(ctx: Context, body: str, seconds: float = 0.0) -> int:
    effect(ctx, "began")
    await asyncio.sleep(seconds)
    effect(ctx, "ended")
    return len(body)


@app.task("test.thread")
def thread(ctx: Context, seconds: float = 0.0) -> dict[str, bool]:
    effect(ctx, "began")
    time.sleep(seconds)
    effect(ctx, "ended")
    return {"main": threading.current_thread() is threading.main_thread()}


@app.task("test.watchful")
def watchful(ctx: Context) -> None:
    """A thread that checks whether it was cancelled."""
    effect(ctx, "began")
    while not ctx.cancelled:
        time.sleep(0.01)
    effect(ctx, "noticed")


@app.task("test.flaky")
async def flaky(ctx: Context, failures: int) -> str:
    """Fails the given number of times, then succeeds."""
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


@app.task("test.snooze.often")
async def snooze_often(ctx: Context, times: int) -> int:
    if ctx.attempt <= times:
        raise Snooze(0)
    return ctx.attempt


@app.task("test.group")
async def group(ctx: Context, reject: bool = False) -> str:
    async def part() -> None:
        if reject:
            raise Reject("never")
        if ctx.attempt == 1:
            raise Snooze(0.0)

    async with asyncio.TaskGroup() as parts:
        for _ in range(3):
            parts.create_task(part())
    return "done"


tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@app.task("test.tenant")
def tenant_in_a_thread(name: str) -> str:
    return swapped(name)


@app.task("test.tenant.async")
async def tenant_on_the_loop(name: str) -> str:
    return swapped(name)


@app.task("test.tenant.process", process=True)
def tenant_in_a_process(name: str) -> str:
    return swapped(name)


def swapped(name: str) -> str:
    found = tenant.get()
    tenant.set(name)
    return found


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
    """Kills its process."""
    effect(ctx, "began")
    os._exit(1)


@app.task("test.kills-itself")
async def kills_itself(ctx: Context) -> None:
    """Kills its process as the kernel does when memory runs out."""
    effect(ctx, "began")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("test.slow-at-first")
async def slow_at_first(ctx: Context, seconds: float, blocking: bool = False) -> dict[str, int]:
    """Takes long until its task was lost once; `blocking` blocks the event loop."""
    effect(ctx, "began")
    try:
        if blocking and not ctx.task.lost_count:
            time.sleep(seconds)  # noqa: ASYNC251  # the mistake under test
        elif not ctx.task.lost_count:
            await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        effect(ctx, "cancelled")
        raise
    effect(ctx, "ended")
    return {"attempt": ctx.attempt}


@app.task("test.together")
async def together(seconds: float = 0.05) -> int:
    """Reports how many runs of it are in progress, itself included."""
    global _going  # noqa: PLW0603  # counts the runs of one process
    _going += 1
    most = _going
    await asyncio.sleep(seconds)
    most = max(most, _going)
    _going -= 1
    return most


@app.task("test.process", process=True, timeout=60)
def in_a_process(ctx: Context, do: str = "return", seconds: float = 0.0) -> Any:
    effect(ctx, f"began:{os.getpid()}")
    match do:
        case "return":
            time.sleep(seconds)
        case "exit":
            os._exit(0)
        case "kill" | "real-time signal":
            os.kill(os.getpid(), signal.SIGKILL if do == "kill" else 40)
            time.sleep(600)
        case "fork and crash":
            if (fork := os.fork()) == 0:
                time.sleep(600)
            effect(ctx, f"started:{fork}")
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "stand still":  # in native code, where no Python signal handler runs
            ctypes.CDLL(None).sleep(600)
        case "start a program":
            effect(ctx, f"started:{subprocess.Popen(['sleep', '600']).pid}")
            time.sleep(600)
        case "raise":
            raise OddError(1, 2)
        case "snooze" if ctx.attempt == 1:
            raise Snooze(0.0)
        case "big":
            return "x" * (2 << 20)
        case "log":
            ctx.log.info("from a process", deadline=str(ctx.deadline), metadata=ctx.metadata, cancelled=ctx.cancelled)
    effect(ctx, "ended")
    return {"pid": os.getpid(), "attempt": ctx.attempt, "parent": os.getppid()}


class OddError(Exception):
    """Cannot be unpickled: it takes two arguments and keeps one."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


_failures_left = 1


async def tidy(ctx: Context, error: TaskError) -> None:
    """A cleanup hook that records its arguments."""
    effect(ctx, f"cleaned:{ctx.task.status}:{error.code}:{ctx.attempt}")


def tidy_in_a_thread(ctx: Context, error: TaskError) -> None:
    effect(ctx, f"cleaned:{ctx.task.status}:{error.code}:{threading.current_thread() is threading.main_thread()}")


async def tidy_badly(ctx: Context, error: TaskError) -> None:
    """Fails the first times in each process."""
    global _failures_left  # noqa: PLW0603
    effect(ctx, "tried")
    if _failures_left or "for ever" in error.message:
        _failures_left = 0
        raise OddError(3, 4)
    effect(ctx, "cleaned")


@app.task("test.tidy", cleanup=tidy, max_retries=0)
async def leaves_things_behind(ctx: Context, do: str = "fail", seconds: float = 0.0) -> None:
    """Does not end at once when it is cancelled."""
    effect(ctx, "began")
    if do == "fail":
        raise RuntimeError("on request")
    if do == "crash":
        os._exit(1)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        await asyncio.sleep(1.3)  # longer than a worker waits before it checks for due cleanups
        effect(ctx, "ended")
        raise


@app.task("test.tidy-thread", cleanup=tidy_in_a_thread, max_retries=0, dead_letter=False)
def leaves_things_in_a_thread() -> None:
    raise RuntimeError("on request")


@app.task("test.tidy-process", cleanup=tidy, max_retries=0, process=True)
def leaves_things_in_a_process() -> None:
    os._exit(4)


async def tidy_and_be_cancelled(ctx: Context, error: TaskError) -> None:
    """Awaits a task that it cancelled itself, and does not catch the CancelledError."""
    effect(ctx, "tried")
    raise asyncio.CancelledError


@app.task("test.tidy-cancelled", cleanup=tidy_and_be_cancelled, max_retries=0)
async def leaves_things_to_a_hook_that_is_cancelled() -> None:
    raise RuntimeError("on request")


@app.task("test.details")
async def tells_too_much() -> None:
    raise Reject("never", details={"an object": object()})


@app.task("test.tidy-badly", cleanup=tidy_badly, max_retries=0)
async def leaves_things_that_resist(how: str = "once") -> None:
    raise RuntimeError(f"it fails {how}")


@app.task("test.says")
async def says(ctx: Context, lines: int = 1, seconds: float = 0.0, secret: Annotated[str, Secret] = "") -> None:
    for number in range(lines):
        ctx.log.info("said", number=number, secret=secret)
    await asyncio.sleep(seconds)


@app.task("test.says-in-thread", max_retries=0)
def says_in_thread(ctx: Context) -> None:
    ctx.log.warning("in a thread", thing=object)
    raise RuntimeError("on request")


@app.task("test.says-in-process", process=True)
def says_in_process(ctx: Context) -> None:
    ctx.log.info("in a process", where="\x00there", text=r"\u0000")
