"""When the lease of this process expired although the process lived: what its tasks lost by that is not charged to them, and makes no suspects.

A process that died cannot say so, and one whose loop stood still may owe that to one of its tasks, which would run forever if it was never charged. So
only a loop that never stood still may.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Set
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from waggle.repair import cut_off
from waggle.task import Fence
from waggle_worker import metrics

log = structlog.get_logger()

TICKS: Final = 15  # in a lease
STOOD_STILL: Final = 5  # a fifth of a lease within one, at once or in pieces: many short ones keep a lease from being renewed too


class Pulse:
    """Whether the event loop of this process has stood still."""

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._most, self._clock = lease / TICKS, lease / STOOD_STILL, clock
        self._lags: deque[float] = deque(maxlen=TICKS)
        self._last = self._stood_still_at = clock()

    async def loop(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(self._interval)

    def tick(self) -> None:
        now = self._clock()
        self._lags.append(max(0.0, now - self._last - self._interval))
        if sum(self._lags) > self._most:
            self._stood_still_at = now
        self._last = now

    def steady_since(self, when: float) -> bool:
        """Whether it has not stood still since this monotonic time."""
        self.tick()
        return self._stood_still_at < when


class CutOff:
    """What was lost under one worker id, until that is undone."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", pulse: Pulse) -> None:
        self._pool, self._pulse = pool, pulse
        self._stopped: list[Fence] = []
        self._ended: list[Fence] = []
        self._unanswered: set[UUID] = set()

    def note(self, stopped: list[Fence], ended: list[Fence], unanswered: Set[UUID]) -> None:
        """Attempts whose handlers are stopped now, those that ended without a settled outcome, and the tasks whose claims have no answer."""
        self._stopped += stopped
        self._ended += ended
        self._unanswered |= unanswered

    async def undo(self, worker_id: str, renewed: float) -> None:
        """Undo their losses, if the loop has not stood still since the last renewal of the lease. Repeat it after an outage."""
        stopped, ended = ([fence for fence in fences if fence.worker_id == worker_id] for fences in (self._stopped, self._ended))
        if (stopped or ended or self._unanswered) and self._pulse.steady_since(renewed):
            undone = await cut_off.undo(self._pool, stopped, ended, worker_id, self._unanswered)
            metrics.UNCHARGED.inc(undone.uncharged)
            log.warning("was cut off from Postgres, its tasks are not charged", worker_id=worker_id, **undone._asdict())
        self._stopped, self._ended, self._unanswered = [], [], set()
