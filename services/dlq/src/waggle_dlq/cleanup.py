"""Retention of the dead letter queue: dead letters past the period or over the maximum size become `failed`, oldest first.

Several services may do it at once: they select the same rows. It also fills in missing fingerprints, and deletes retries of deleted tasks and redrives that
ended long ago.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from waggle.bus.dlq_commands import Cleaned
from waggle.loops import LONGEST_SECONDS, LOOK_SHARE, periodic, wait_for
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters, figures, redrives, waiting
from waggle.store.client import Connection
from waggle.store.dead_letters import Moved
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import Status
from waggle_dlq import metrics
from waggle_dlq.telling import Tell

log = structlog.get_logger()

CLEANUP_BATCH: Final = 1000  # dead letters in one transaction
FIRST_POSITION: Final = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))  # before all dead letters
SIZE_REFRESH_SECONDS: Final = 10.0  # between two counts
GROUPS: Final = 50  # of dead letters by type and code that the metrics show


async def keep_clean(pool: Connection, tell: Tell, settings: DlqSettings, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        with metrics.CLEANUP_SECONDS.time(), metrics.CLEANUP_FAILURE.count_exceptions(POSTGRES_OUTAGE):
            await clean(pool, tell, settings.dlq_retention_period_ms / 1000, settings.dlq_max_size)
        metrics.CLEANUP_SUCCESS.inc()
        await put_in_order(pool, settings.dlq_retention_period_ms / 1000)
        return False

    await periodic(settings.dlq_cleanup_interval, step, POSTGRES_OUTAGE, stopping)


async def watch_size(pool: Connection, stopping: asyncio.Event) -> None:
    shown: set[tuple[str, str]] = set()

    async def step() -> bool:
        nonlocal shown
        began = time.monotonic()
        metrics.SIZE.set(await waiting.dead_letters(pool))
        groups = {(row["type"], row["code"]): row["tasks"] for row in await figures.dead_letters(pool, GROUPS)}
        for gone in shown - groups.keys():
            metrics.LETTERS.remove(*gone)
        for group, tasks in groups.items():
            metrics.LETTERS.labels(*group).set(tasks)
        shown = set(groups)
        await wait_for(stopping, max(SIZE_REFRESH_SECONDS, min((time.monotonic() - began) / LOOK_SHARE, LONGEST_SECONDS)))
        return True

    await periodic(SIZE_REFRESH_SECONDS, step, POSTGRES_OUTAGE, stopping)


async def clean(pool: Connection, tell: Tell, keep: float, max_size: int | None) -> Cleaned:
    """Remove dead letters older than `keep` seconds, then those over `max_size` if it is given."""
    old = await _to_the_last(tell, lambda: dead_letters.remove_expired(pool, keep, CLEANUP_BATCH))
    excess = 0 if max_size is None else await _to_the_last(tell, lambda: dead_letters.remove_excess(pool, max_size, CLEANUP_BATCH))
    remaining = await waiting.dead_letters(pool)
    metrics.SIZE.set(remaining)
    metrics.REMAINING.set(remaining)
    metrics.CLEANED.labels("old").inc(old)
    metrics.CLEANED.labels("excess").inc(excess)
    if old or excess:
        log.info("dead letters removed by cleanup", old=old, excess=excess, remaining=remaining)
    return Cleaned(old + excess, remaining)


async def put_in_order(pool: Connection, keep: float) -> None:
    """Background maintenance; redrives are deleted `keep` seconds after their end."""
    place: tuple[datetime, UUID] | None = FIRST_POSITION
    while place is not None:
        place = await dead_letters.add_fingerprints(pool, place, CLEANUP_BATCH)
    reached: UUID | None = UUID(int=0)
    while reached is not None:
        reached = await dead_letters.delete_expired_retries(pool, reached, CLEANUP_BATCH)
    await redrives.delete_expired(pool, keep)


async def _to_the_last(tell: Tell, remove: Callable[[], Awaitable[list[Moved]]]) -> int:
    """Repeat until a batch is not full: then nothing is left, or another service has it."""
    total = 0
    while True:
        removed = await remove()
        await tell(removed, Status.FAILED)
        total += len(removed)
        if len(removed) < CLEANUP_BATCH:
            return total
