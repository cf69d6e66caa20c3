"""Holds the database's clock against the monotonic clock of this process, and puts right what a jump leaves behind.

A lease is judged by the database's clock. Set forward, it makes every lease look expired; set back, it keeps those of dead workers.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

import structlog

from waggle.store import clock
from waggle.store.client import Connection
from waggle.telemetry import catalogue

log = structlog.get_logger()
T = TypeVar("T")

TOLERANCE_SECONDS: Final = 1.0  # beyond what the round trips leave open; a fifth of a lease where that is less

JUMPS: Final = catalogue.CLOCK_JUMPS.create()


class Reading(NamedTuple):
    """A time of the database, and the monotonic times between which it was read."""

    time: datetime
    asked: float
    answered: float


class DatabaseClock:
    """Compares each reading with the one before, across outages and failovers too. A jump is reported until `settled()`: putting it right may fail."""

    def __init__(self, lease: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tolerance = min(TOLERANCE_SECONDS, lease / 5)
        self._monotonic = monotonic
        self._last: Reading | None = None
        self._unsettled = 0.0

    async def read(self, ask: Callable[[], Awaitable[T]], time_of: Callable[[T], datetime]) -> tuple[T, float]:
        """The answer, and by how many seconds the clock jumped since the last one that was settled (negative: back; 0: not)."""
        asked = self._monotonic()
        answer = await ask()
        return answer, self.jumped(Reading(time_of(answer), asked, self._monotonic()))

    def jumped(self, reading: Reading) -> float:
        before, self._last = self._last, reading
        if before is not None:
            self._unsettled += self._moved(before, reading)
        return self._unsettled

    def settled(self) -> None:
        """The jump was put right."""
        self._unsettled = 0.0

    def _moved(self, before: Reading, reading: Reading) -> float:
        moved = (reading.time - before.time).total_seconds()
        least, most = reading.asked - before.answered, reading.answered - before.asked
        if moved > most + self._tolerance:
            return moved - most
        return moved - least if moved < least - self._tolerance else 0.0


async def settle_jump(connection: Connection, seconds: float) -> None:
    """Restart the wait of every lease; after a jump back also make due what was due."""
    await clock.restart_leases(connection)
    await clock.record(connection, seconds)
    pulled = await clock.pull(connection, -seconds) if seconds < 0 else 0
    JUMPS.labels("back" if seconds < 0 else "forward").inc()
    log.error("the clock of Postgres jumped, leases are counted from now", seconds=round(seconds, 1), tasks_pulled=pulled)
