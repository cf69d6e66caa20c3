"""Retention of the dead letter queue: what is past its period, or over the maximum size, becomes `failed`, the oldest first.

Several services may do it at once: they mean the same rows. Nothing is published, because a dead letter was at rest already. What belongs to it is
kept in order too: fingerprints that are missing, retries of tasks that are gone, redrives that ended long ago.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from waggle.bus.dlq_commands import Cleaned
from waggle.loops import periodic
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters, redrives, waiting
from waggle.store.client import Connection
from waggle.store.postgres import OUTAGE
from waggle_dlq import metrics

log = structlog.get_logger()

MOST: Final = 1000  # dead letters moved in one transaction
EVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))  # before all of them
LOOK_EVERY: Final = 10.0  # seconds between two looks at the size


async def keep_clean(pool: Connection, settings: DlqSettings, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        with metrics.CLEANUP_SECONDS.time(), metrics.CLEANUP_FAILURE.count_exceptions(OUTAGE):
            await clean(pool, settings.dlq_retention_period_ms / 1000, settings.dlq_max_size)
        metrics.CLEANUP_SUCCESS.inc()
        await put_in_order(pool, settings.dlq_retention_period_ms / 1000)
        return False

    await periodic(settings.dlq_cleanup_interval, step, OUTAGE, stopping)


async def watch_size(pool: Connection, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        metrics.SIZE.set(await waiting.dead_letters(pool))
        return False

    await periodic(LOOK_EVERY, step, OUTAGE, stopping)


async def clean(pool: Connection, keep: float, max_size: int | None) -> Cleaned:
    """Bury what is older than `keep` seconds, then, with a `max_size`, what is over it."""
    old = await _to_the_last(lambda: waiting.remove_expired(pool, keep, MOST))
    excess = 0 if max_size is None else await _to_the_last(lambda: waiting.remove_excess(pool, max_size, MOST))
    remaining = await waiting.dead_letters(pool)
    metrics.SIZE.set(remaining)
    metrics.REMAINING.set(remaining)
    metrics.CLEANED.labels("old").inc(old)
    metrics.CLEANED.labels("excess").inc(excess)
    if old or excess:
        log.info("dead letters became failed", old=old, excess=excess, remaining=remaining)
    return Cleaned(old + excess, remaining)


async def put_in_order(pool: Connection, keep: float) -> None:
    """What nobody waits for; `keep` is how long redrives are remembered after their end, in seconds."""
    place: tuple[datetime, UUID] | None = EVER
    while place is not None:
        place = await dead_letters.add_fingerprints(pool, place, MOST)
    reached: UUID | None = UUID(int=0)
    while reached is not None:
        reached = await dead_letters.delete_expired_retries(pool, reached, MOST)
    await redrives.delete_expired(pool, keep)


async def _to_the_last(remove: Callable[[], Awaitable[list[UUID]]]) -> int:
    """Batch after batch; one that is not full means that nothing is left, or that another service has it."""
    total = 0
    while True:
        removed = len(await remove())
        total += removed
        if removed < MOST:
            return total
