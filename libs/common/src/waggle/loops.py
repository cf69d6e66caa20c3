"""The waits that every loop is made of: a step again and again, and an event with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def periodic(interval: float, step: Callable[[], Awaitable[bool]], outage: tuple[type[Exception], ...], stopping: asyncio.Event) -> None:
    """A loop with one wait in it: `step` again at once while it says that there is more, else after `interval` seconds.

    An outage of a server is logged once and waited out; anything else escapes.
    """
    out, task = False, asyncio.current_task()
    name = task.get_name() if task else ""
    while not stopping.is_set():
        more = False
        try:
            more = await step()
            if out:
                log.info("recovered", loop=name)
            out = False
        except outage as error:
            if not out:
                log.warning("outage, waiting", loop=name, error=str(error) or type(error).__name__)
            out = True
        if more:
            await asyncio.sleep(0)
        else:
            await wait_for(stopping, interval)


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, for at most so many seconds; True when it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
