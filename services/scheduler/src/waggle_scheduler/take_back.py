"""Takes tasks back from workers that are gone: a lost try is counted, and the task runs again at once or ends in the dead letter queue."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from waggle import failpoint
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.store import leases, tasks
from waggle.store.leases import LostTask
from waggle.task import AT_REST
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 1.0
MOST: Final = 100

TAKEN_BACK: Final = catalogue.TASKS_TAKEN_BACK.create()


class Connected:
    """For how long Postgres has answered without an interruption, by the monotonic clock: leases are judged only by who would have seen them renewed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._last = -1.0
        self._server: datetime | None = None

    def lost(self) -> None:
        self._server = None

    def seen(self, server_started: datetime, gap: float) -> float:
        """Postgres, up since `server_started`, has just answered: the seconds that it did so, never more than `gap` apart."""
        now = self._clock()
        if server_started != self._server or now - self._last > gap:
            self._since, self._server = now, server_started
        self._last = now
        return now - self._since


async def keep_taking_back(pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, lease: float, stopping: asyncio.Event) -> None:
    """Only once this scheduler has itself been connected for a lease."""
    connected = Connected()

    async def step() -> bool:
        try:
            if connected.seen(await leases.server_started(pool), gap=max(lease / 2, 3 * EVERY)) < lease:
                return False
            taken = await take_back(pool)
        except BaseException:
            connected.lost()
            raise
        await tell(bus, taken)
        return len(taken) == MOST

    await periodic(EVERY, step, OUTAGE, stopping)


async def take_back(pool: "asyncpg.Pool[asyncpg.Record]") -> list[LostTask]:
    """Lock lost tasks and settle them in one transaction; returns those that went on."""
    async with pool.acquire() as connection, connection.transaction():
        lost = await leases.lock_lost(connection, MOST)
        if not lost:
            return []
        failpoint.passed("scheduler.locked")
        settled = await tasks.settle(connection, [(task.fence, task.step) for task in lost])
    return [task for task in lost if (task.fence.id, task.fence.attempt) in settled]


async def tell(bus: Bus, taken: list[LostTask]) -> None:
    """After the commit: the log, and whoever waits for those that ended."""
    for task in taken:
        fence, following = task.fence, task.step.status
        TAKEN_BACK.labels(following).inc()
        log.warning(
            "took a task back, its worker is gone", task_id=str(fence.id), type=task.type, worker_id=fence.worker_id, attempt=fence.attempt, next=following
        )
    ended = [(task.fence.id, task.step.status) for task in taken if task.step.status in AT_REST]
    if ended:
        await bus.publish(subjects.SETTLED, subjects.settled(ended))
