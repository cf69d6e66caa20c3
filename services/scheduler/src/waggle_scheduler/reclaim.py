"""Reclaims tasks of dead workers: the lost try counts, and the task runs again at once or ends in the dead letter queue."""

import asyncio
from typing import Final

import asyncpg
import structlog

from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.repair import reclaim
from waggle.repair.clock import DatabaseClock, settle_jump
from waggle.store import clock, primary
from waggle.store.leases import LostTask
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

LOST_SCAN_SECONDS: Final = 1.0
LOST_BATCH: Final = 100

RECLAIMED: Final = catalogue.TASKS_TAKEN_BACK.create()


async def keep_reclaiming(pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, lease: float, stopping: asyncio.Event) -> None:
    """Reclaim lost tasks: those whose lease was ended at once, those whose lease expired when this scheduler has been connected for a lease."""
    connected, gone, database_clock, is_first = reclaim.Connected(), reclaim.Gone(), DatabaseClock(lease), True

    async def step() -> bool:
        nonlocal is_first
        try:
            seen, jumped = await database_clock.read(lambda: primary.observe(pool), lambda seen: seen.now)
            if jumped:
                await settle_jump(pool, jumped)
                database_clock.settled()
                return False
            if is_first:  # nobody may have seen a jump before
                await clock.clamp(pool)
                is_first = False
            judging = connected.seen((seen.server, seen.since), gap=max(lease / 2, 3 * LOST_SCAN_SECONDS)) >= lease
            worker_ids = await gone.find(pool, judging=judging)
            reclaimed = await reclaim.reclaim(pool, LOST_BATCH, judging=judging, worker_ids=worker_ids)
            if len(reclaimed) < LOST_BATCH:
                gone.emptied(worker_ids)
        except BaseException:
            connected.lost()
            raise
        _log_reclaimed(reclaimed)
        await reclaim.announce(bus, reclaimed)
        return len(reclaimed) == LOST_BATCH

    await periodic(LOST_SCAN_SECONDS, step, OUTAGE, stopping)


def _log_reclaimed(reclaimed: list[LostTask]) -> None:
    for task in reclaimed:
        fence, following = task.fence, task.step.status
        RECLAIMED.labels(following).inc()
        log.warning("task of a dead worker reclaimed", task_id=str(fence.id), type=task.type, worker_id=fence.worker_id, attempt=fence.attempt, next=following)
