"""The handlers of the benchmarks."""

import asyncio
import os
import signal
import time
from typing import Any

from waggle import App, Context, Reject

app = App()


@app.task("bench.start")
async def start(sent: float) -> float:
    """Milliseconds from `sent` (seconds since 1970, on this machine) to this line."""
    return (time.time() - sent) * 1000


@app.task("bench.mixed")
async def mixed(ctx: Context, ms: float, failures: int) -> float:
    """Sleep for `ms` milliseconds, then fail in the first `failures` tries; -1 rejects the task."""
    await asyncio.sleep(ms / 1000)
    if failures < 0:
        raise Reject("on request")
    if ctx.attempt <= failures:
        raise RuntimeError("on request")
    return ms


@app.task("bench.large")
async def large(body: str) -> int:
    return len(body)


@app.task("bench.die")
async def die(after: float) -> None:
    """End the worker process after so many seconds."""
    await asyncio.sleep(after)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("bench.logs")
async def logs(ctx: Context, **payload: Any) -> dict[str, Any]:
    """As demo.echo, with one line."""
    ctx.log.info("done", size=len(payload))
    return payload
