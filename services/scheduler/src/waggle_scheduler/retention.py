"""Deletes what finished longer ago than the retention, with its attempts, its idempotency keys, and workers that are long gone."""

import asyncio
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter

from waggle.service import periodic, wait_for
from waggle.store import leases, waiting
from waggle.store.sql import Connection
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 60.0
MOST: Final = 2000
PAUSE: Final = 0.05  # seconds between two steps of a walk, so that it does not crowd out the work
WORKERS: Final = 3600.0  # seconds that a worker that is gone is still shown
START: Final = UUID(int=0)

RETIRED = Counter("waggle_tasks_retired", "Finished tasks deleted after their retention")


async def retire(pool: Connection, keep: float, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        tasks = await retire_tasks(pool, keep, stopping)
        keys = await waiting.retire_keys(pool, keep, MOST)
        workers = await leases.forget(pool, WORKERS)
        if tasks or keys or workers:
            log.info("deleted what was past its retention", tasks=tasks, idempotency_keys=keys, workers=workers)
        return keys == MOST

    await periodic(EVERY, step, OUTAGE, stopping)


async def retire_tasks(pool: Connection, keep: float, stopping: asyncio.Event) -> int:
    """One walk from the oldest task to those too young to have finished that long ago; returns how many it deleted."""
    reached: UUID | None = START
    deleted = 0
    while reached is not None:
        walk = await waiting.retire(pool, reached, keep, MOST)
        deleted += walk.deleted
        RETIRED.inc(walk.deleted)
        reached = walk.reached if walk.ripe else None
        if await wait_for(stopping, PAUSE):
            break
    return deleted
