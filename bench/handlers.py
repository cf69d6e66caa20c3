"""The handlers of the benchmarks."""

import time

from waggle import App

app = App()


@app.task("bench.start")
async def start(sent: float) -> float:
    """Milliseconds from `sent` (seconds since 1970, on this machine) to this line."""
    return (time.time() - sent) * 1000
