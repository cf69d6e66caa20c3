"""Takes tasks back from workers that are gone: a lost try is counted, and the task runs again at once or ends in the dead letter queue."""

import asyncio
from typing import Final

import asyncpg
import structlog

from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.repair import reclaim
from waggle.store import leases
from waggle.store.leases import LostTask
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 1.0
MOST: Final = 100

TAKEN_BACK: Final = catalogue.TASKS_TAKEN_BACK.create()


async def keep_taking_back(pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, lease: float, stopping: asyncio.Event) -> None:
    """Only once this scheduler has itself been connected for a lease."""
    connected = reclaim.Connected()

    async def step() -> bool:
        try:
            if connected.seen(await leases.server_started(pool), gap=max(lease / 2, 3 * EVERY)) < lease:
                return False
            taken = await reclaim.take_back(pool, MOST)
        except BaseException:
            connected.lost()
            raise
        _report(taken)
        await reclaim.announce(bus, taken)
        return len(taken) == MOST

    await periodic(EVERY, step, OUTAGE, stopping)


def _report(taken: list[LostTask]) -> None:
    for task in taken:
        fence, following = task.fence, task.step.status
        TAKEN_BACK.labels(following).inc()
        log.warning(
            "took a task back, its worker is gone", task_id=str(fence.id), type=task.type, worker_id=fence.worker_id, attempt=fence.attempt, next=following
        )
