"""Suspects: tasks that were lost with a worker process, which may have died of one of them.

A claim passes them over. Those that fit the window are then claimed by name; the others are put off, without a claim: if this process dies meanwhile,
that costs them nothing. `process=True` tasks are no suspects: they cannot end their worker.
"""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from waggle.app import Handler
from waggle.bus import due
from waggle.bus.connection import Bus
from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.tasks import PassedOver
from waggle.task import Claimed, Fence
from waggle_worker import metrics
from waggle_worker.window import Window


class Suspects:
    """Claims suspects, as many as the window admits. `start(task, worker_id)` starts one that was claimed."""

    def __init__(self, connection: Connection, bus: Bus, window: Window, handlers: Mapping[str, Handler], start: Callable[[Claimed, str], None]) -> None:
        self._connection, self._bus, self._window, self._start = connection, bus, window, start
        self.harmless = [handler.name for handler in handlers.values() if handler.process]

    def among(self, passed: Sequence[PassedOver]) -> list[PassedOver]:
        return [one for one in passed if one.lost_count and one.type not in self.harmless]

    async def claim(self, suspects: Sequence[PassedOver], worker_id: str) -> set[UUID]:
        """Start those that fit and put the others off; returns those that are as they were, because others had locked them. Raises POSTGRES_OUTAGE."""
        admitted, waits = self._window.admit(suspects)
        moved: set[UUID] = set()
        try:
            if admitted:
                for task in await tasks.claim(self._connection, admitted, worker_id, lost=admitted):
                    self._window.claimed(Fence(task.id, task.attempt, worker_id, task.started_at))
                    self._start(task, worker_id)
                    moved.add(task.id)
        finally:
            self._window.release(admitted)
        if waits:
            moved |= await tasks.put_off(self._connection, waits)
            await due.announce(self._bus, min(waits.values()))
            metrics.SUSPECTS_PUT_OFF.inc(len(waits))
        return {one.id for one in suspects} - moved
