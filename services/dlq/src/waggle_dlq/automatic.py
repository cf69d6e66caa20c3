"""Automatic retries (the seed's retryLimit and backoffMs): dead letters whose error is retryable, a few times, later each time.

Nothing is kept in memory: who is due is asked of Postgres, and how often a task was retried stands there too, so several services never exceed the
limit. Usually only those that died lately are looked at; a sweep over all finds what was left while no service ran.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog

from waggle.loops import periodic
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters
from waggle.store.postgres import OUTAGE
from waggle_dlq import metrics

log = structlog.get_logger()

SHORTEST, LONGEST = 0.2, 5.0  # seconds between two looks
SWEEP_EVERY: Final = 600.0
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def retry(pool: "asyncpg.Pool[asyncpg.Record]", settings: DlqSettings, stopping: asyncio.Event) -> None:
    """The loop; it ends at once when there are no automatic retries."""
    if not settings.dlq_retry_limit:
        return
    backoff = settings.dlq_backoff_ms / 1000
    interval = min(max(backoff / 4, SHORTEST), LONGEST)
    most = max(1, round(settings.dlq_redrive_rate * interval))
    longest = min(backoff * 2.0 ** (settings.dlq_retry_limit - 1), dead_letters.AUTOMATIC_CAP)
    swept = -SWEEP_EVERY

    async def step() -> bool:
        nonlocal swept
        began = time.monotonic()
        is_sweep = began - swept >= SWEEP_EVERY
        retried = await retry_ripe(pool, settings.dlq_retry_limit, backoff, most, None if is_sweep else longest + 2 * SWEEP_EVERY)
        if is_sweep and retried < most:
            swept = began
        return False

    await periodic(interval, step, OUTAGE, stopping)


async def retry_ripe(pool: "asyncpg.Pool[asyncpg.Record]", retries: int, backoff: float, most: int, age: float | None) -> int:
    """Retry up to `most` that are due, of all or of those that died at most `age` seconds ago; returns how many were due."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            since = EVER if age is None else dead_letters.before(await dead_letters.now(connection), age)
            due = await dead_letters.lock_retryable(connection, retries=retries, backoff=backoff, since=since, most=most)
            if not due:
                return 0
            outcome = await dead_letters.retry(connection, due, how="automatic")
    except asyncpg.UniqueViolationError:  # somebody took a key at this moment: the next look sees it
        return most
    metrics.RETRIED.labels("automatic").inc(len(outcome.retried))
    log.info("dead letters retried automatically", count=len(outcome.retried))
    return len(due)
