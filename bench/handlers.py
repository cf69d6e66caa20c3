"""The handlers of the benchmarks."""

import asyncio
import time

from waggle import App, Context, Reject

app = App()


@app.task("bench.start")
async def start(sent: float) -> float:
    """Milliseconds from `sent` (seconds since 1970, on this machine) to this line."""
    return (time.time() - sent) * 1000


@app.task("bench.mixed")
async def mixed(ctx: Context, ms: float, failures: int) -> float:
    """Waits so many milliseconds; then its first `failures` tries fail, and -1 means that no try can succeed."""
    await asyncio.sleep(ms / 1000)
    if failures < 0:
        raise Reject("as asked")
    if ctx.attempt <= failures:
        raise RuntimeError("as asked")
    return ms


@app.task("bench.large")
async def large(body: str) -> int:
    return len(body)
