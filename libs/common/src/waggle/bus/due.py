"""Tells schedulers that a task was written without a doorbell and is due in a moment. One that is due later is seen in time by their own looks.

A message and no NOTIFY of Postgres: that takes a lock of the whole server until the commit ends, so that all such commits wait for each other, and for a
standby that one of them waits for.
"""

from typing import Final

from waggle.bus import subjects
from waggle.bus.connection import Bus

LOOK_SECONDS: Final = 0.5  # between two looks of a scheduler: so much a lost message costs


async def announce(bus: Bus, seconds: float = 0.0) -> None:
    """Call it after the commit of tasks of which the first is due in `seconds`."""
    if seconds < LOOK_SECONDS:
        await bus.publish(subjects.DUE, b"")
