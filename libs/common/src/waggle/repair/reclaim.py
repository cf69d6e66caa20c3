"""Reclaims tasks of workers that are gone: a lost try is counted, and the task runs again at once or ends in the dead letter queue."""

import time
from collections.abc import Callable, Collection

import asyncpg

from waggle import failpoint
from waggle.bus import due, events, subjects
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.loops import Looks
from waggle.store import leases, tasks
from waggle.store.client import Connection
from waggle.store.leases import LostTask
from waggle.task import AT_REST


class Connected:
    """For how long Postgres has answered without an interruption, by the monotonic clock.

    Only a process that was connected for a whole lease may judge leases: it would have seen them renewed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._last = -1.0
        self._server: object = None

    def lost(self) -> None:
        self._server = None

    def seen(self, server: object, gap: float) -> float:
        """Note an answer of Postgres. Returns for how many seconds the same server has answered, never more than `gap` apart."""
        now = self._clock()
        if server != self._server or now - self._last > gap:
            self._since, self._server = now, server
        self._last = now
        return now - self._since


class Gone:
    """Workers that may have left running tasks: those whose lease has ended since the last look, and from time to time all under whose id a task runs."""

    def __init__(self) -> None:
        self._looks = Looks()
        self._alive: set[str] = set()  # at some look before, and not empty since
        self._empty: set[str] = set()  # with an expired lease and without a running task

    async def find(self, connection: Connection, *, judging: bool) -> set[str]:
        """Their ids; `judging` as in `leases.lock_lost`."""
        with self._looks.look() as back:
            standing = await leases.standing(connection)
            everybody = await leases.without_live(connection, judging=judging) if back is None else []
        alive = {worker_id for worker_id, is_alive in standing.items() if is_alive}
        self._alive |= alive
        self._empty = (self._empty & standing.keys()) - alive
        expired = standing.keys() - alive - self._empty if judging else set()
        return (self._alive - standing.keys()) | expired | set(everybody)

    def emptied(self, worker_ids: set[str]) -> None:
        """Nothing runs under these ids any more."""
        self._alive -= worker_ids
        self._empty |= worker_ids


async def reclaim(pool: "asyncpg.Pool[asyncpg.Record]", most: int, *, judging: bool = True, worker_ids: Collection[str] | None = None) -> list[LostTask]:
    """Lock up to `most` lost tasks, of these workers or of all, and settle them in one transaction; returns those that were settled.

    See `leases.lock_lost`.
    """
    if worker_ids is None:
        worker_ids = await leases.without_live(pool, judging=judging)
    if not worker_ids:
        return []
    async with pool.acquire() as connection, connection.transaction():
        lost = await leases.lock_lost(connection, worker_ids, most, judging=judging)
        if not lost:
            return []
        failpoint.passed("scheduler.locked")
        settled = await tasks.settle(connection, [(task.fence, task.step) for task in lost])
    return [task for task in lost if (task.fence.id, task.fence.attempt) in settled]


async def announce(bus: Bus, reclaimed: list[LostTask]) -> None:
    """Publish which of them have ended, and that others are due; call it after the commit."""
    again = [task.step.delay for task in reclaimed if task.step.status not in AT_REST]
    if again:
        await due.announce(bus, min(again))
    ended = [(task.fence.id, task.step.status) for task in reclaimed if task.step.status in AT_REST]
    if ended:
        await bus.publish(subjects.SETTLED, subjects.settled(ended))
    at = events.now()
    await events.tell(bus, (TaskEvent(task.fence.id, task.type, task.queue, task.step.status, task.fence.attempt, at, _code(task)) for task in reclaimed))


def _code(task: LostTask) -> str | None:
    return None if task.step.error is None else task.step.error.code
