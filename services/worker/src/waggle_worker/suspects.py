"""Suspects: tasks that were lost with a worker process, which may have died of one of them.

Only a few run here at a time, so that a poison task takes few others with it; the rest go back, uncounted, and come again. A suspect starts once
those that went back when it came are settled: what is not settled when it kills the process is lost once more.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from waggle.retry import SNOOZE_CAP_SECONDS
from waggle.task import Claimed, Fence
from waggle_worker.run import Run

SUSPECTS_AT_ONCE: Final = 1
SHORTEST_CEILING: Final = 1.0  # seconds
CHECK_SECONDS: Final = 0.005


class Suspects:
    """The suspects of this worker. `is_settling(fence)`: whether its outcome is on its way to Postgres."""

    def __init__(self, is_settling: Callable[[Fence], bool]) -> None:
        self._is_settling = is_settling
        self._here: list[Run] = []
        self._sent_away: list[Fence] = []

    def delay(self) -> float | None:
        """Seconds after which one more suspect should come again; None when there is room for it now."""
        self._here = [run for run in self._here if run.is_open]
        if len(self._here) < SUSPECTS_AT_ONCE:
            return None
        return suspect_delay(time.monotonic() - self._here[0].since)

    def send_away(self, claimed: Claimed, worker_id: str) -> None:
        """This one goes back: those that start later wait until that is settled."""
        self._sent_away.append(Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at))

    def add(self, run: Run) -> None:
        """This one stays."""
        self._here.append(run)

    async def turn(self, run: Run) -> None:
        """Wait until those that were sent away are settled, or the run is cancelled."""
        while self._are_settling() and not run.is_cancelled():  # noqa: ASYNC110  # rare, and short
            await asyncio.sleep(CHECK_SECONDS)

    def _are_settling(self) -> bool:
        self._sent_away = [fence for fence in self._sent_away if self._is_settling(fence)]
        return bool(self._sent_away)


def suspect_delay(ran: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds that a suspect waits because another one has run here for `ran` seconds: full jitter below that, at least 1 s and at most 30 s.

    It does not depend on how often the suspect was sent away: one crash makes many suspects at once, and most of them are harmless and short.
    """
    return uniform(0.0, min(SNOOZE_CAP_SECONDS, max(SHORTEST_CEILING, ran)))
