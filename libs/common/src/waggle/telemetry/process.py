"""What a service says about its own process: CPU, memory, how late its event loop is."""

import asyncio
import time
from typing import Final

from waggle import machine
from waggle.telemetry import catalogue, logs

TICK_SECONDS: Final = 0.5
WINDOW_SECONDS: Final = 15.0  # a scrape sees the worst of this one and the one before

CPU: Final = catalogue.CPU.create()
MEMORY: Final = catalogue.MEMORY.create()
LAG: Final = catalogue.LOOP_LAG.create()
LINES_DROPPED: Final = catalogue.LOG_LINES_DROPPED.create()
SPANS_DROPPED: Final = catalogue.SPANS_DROPPED.create()  # by waggle.telemetry.span_sender, which is imported only where a collector is configured


class Usage:
    """The CPU usage since the last time that somebody asked, at least a second ago."""

    def __init__(self) -> None:
        self._at, self._used, self._percent = time.monotonic(), time.process_time(), 0.0

    def percent(self) -> float:
        """100 is one core."""
        now, used = time.monotonic(), time.process_time()
        if now - self._at >= 1:
            self._percent = 100 * (used - self._used) / (now - self._at)
            self._at, self._used = now, used
        return self._percent


class Lag:
    """How late the loop came to a timer, at most, in this window and the one before."""

    def __init__(self) -> None:
        self._began, self._now, self._before = time.monotonic(), 0.0, 0.0

    def note(self, seconds: float) -> None:
        if time.monotonic() - self._began >= WINDOW_SECONDS:
            self._began, self._before, self._now = time.monotonic(), self._now, 0.0
        self._now = max(self._now, seconds)

    def milliseconds(self) -> float:
        return 1000 * max(self._now, self._before)


async def watch() -> None:
    """The loop of every service that measures its own lateness; the other figures are taken when somebody reads the page."""
    usage, lag = Usage(), Lag()
    CPU.set_function(usage.percent)
    MEMORY.set_function(machine.resident_bytes)
    LAG.set_function(lag.milliseconds)
    loop = asyncio.get_running_loop()
    counted = 0
    while True:
        dropped = logs.dropped()
        LINES_DROPPED.inc(dropped - counted)
        counted = dropped
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lag.note(max(0.0, loop.time() - due))
