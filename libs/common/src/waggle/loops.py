"""The waits of a loop: periodic steps, and an event with a timeout."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def periodic(interval: float, step: Callable[[], Awaitable[bool]], outage: tuple[type[Exception], ...], stopping: asyncio.Event) -> None:
    """Call `step` until `stopping` is set: again at once when it returns True (there is more to do), otherwise after `interval` seconds.

    Exceptions in `outage` are logged once for each kind in a row, and the loop continues; any other exception escapes.
    """
    task = asyncio.current_task()
    out: type[Exception] | None = None
    name = task.get_name() if task else ""
    while not stopping.is_set():
        more = False
        try:
            more = await step()
            if out:
                log.info("recovered", loop=name)
            out = None
        except outage as error:
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
