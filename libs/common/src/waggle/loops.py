"""The waits of a loop: periodic steps, an event with a timeout, and how far back a repeated look goes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from waggle.telemetry import catalogue

log = structlog.get_logger()

FAILURES: Final = catalogue.LOOP_FAILURES.create()

LOOK_SHARE: Final = 0.01  # of a loop's time that looks at everything may take
FIRST_LOOK_SHARE: Final = 0.1  # after one that took long, which may have waited for a busy machine; the pause after each further one is twice as long
LONGEST_SECONDS: Final = 60.0  # between two looks at everything
SLACK_SECONDS: Final = 2.0  # that a statement may be under way before its rows are seen


async def periodic(interval: float, step: Callable[[], Awaitable[bool]], outage: tuple[type[Exception], ...], stopping: asyncio.Event) -> None:
    """Call `step` until `stopping` is set: again at once when it returns True (there is more to do), otherwise after `interval` seconds.

    Exceptions in `outage` are logged once for each kind in a row, and the loop continues; any other exception escapes.
    """
    task = asyncio.current_task()
    out: type[Exception] | None = None
    name = task.get_name() if task else ""
    failures = FAILURES.labels(name)
    while not stopping.is_set():
        more = False
        try:
            more = await step()
            if out:
                log.info("recovered", loop=name)
            out = None
        except outage as error:
            failures.inc()
            if out is not type(error):
                log.warning("outage, waiting", loop=name, error=str(error) or type(error).__name__)
            out = type(error)
        if more:
            await asyncio.sleep(0)
        else:
            await wait_for(stopping, interval)


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait up to `seconds` for the event; whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class Looks:
    """How far back each of a loop's looks goes. Under an old snapshot a look at everything passes over every row that has moved on since: the longer that
    takes, the rarer it is, and those between look at what is new. Without one, nearly every look is a look at everything. One that took long by chance
    does not put the next one off for long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._everything_at = self._last = clock()
        self._pause = 0.0

    @contextmanager
    def look(self) -> Iterator[float | None]:
        """Gives the seconds to look back, None for everything. A look that raises an error does not count."""
        began = self._clock()
        everything = began >= self._everything_at
        yield None if everything else began - self._last + SLACK_SECONDS
        self._last = began
        if everything:
            took = self._clock() - began
            self._pause = min(took / LOOK_SHARE, LONGEST_SECONDS, max(2 * self._pause, took / FIRST_LOOK_SHARE))
            self._everything_at = began + took + self._pause

    def left_some(self) -> None:
        """The last look left older rows: the next one is at everything."""
        self._everything_at = self._clock()
