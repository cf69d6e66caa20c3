"""Automatic retries of dead letters with a retryable error: up to `dlq_retry_limit` times, with a growing backoff.

All state is in Postgres, so several services together keep the limit. Usually a step reads only recent dead letters; a sweep over all finds those
that became due while no service ran.
"""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import Final

import asyncpg
import structlog

from waggle.bus import due
from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import Status
from waggle_dlq import metrics, telling
from waggle_dlq.telling import Tell

log = structlog.get_logger()

SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 5.0  # between two steps
SWEEP_SECONDS: Final = 600.0
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def retry(pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, settings: DlqSettings, stopping: asyncio.Event) -> None:
    """The loop; it ends at once when automatic retries are off."""
    if not settings.dlq_retry_limit:
        return
    backoff = settings.dlq_backoff_ms / 1000
    interval = min(max(backoff / 4, SHORTEST_SECONDS), LONGEST_SECONDS)
    most = max(1, round(settings.dlq_redrive_rate * interval))
    longest = min(backoff * 2.0 ** (settings.dlq_retry_limit - 1), dead_letters.AUTOMATIC_CAP)
    swept = -SWEEP_SECONDS

    async def step() -> bool:
        nonlocal swept
        began = time.monotonic()
        is_sweep = began - swept >= SWEEP_SECONDS
        retried = await retry_due(pool, partial(telling.tell, bus), settings.dlq_retry_limit, backoff, most, None if is_sweep else longest + 2 * SWEEP_SECONDS)
        if retried:
            await due.announce(bus)
        if is_sweep and retried < most:
            swept = began
        return False

    await periodic(interval, step, POSTGRES_OUTAGE, stopping)


async def retry_due(pool: "asyncpg.Pool[asyncpg.Record]", tell: Tell, retries: int, backoff: float, most: int, age: float | None) -> int:
    """Retry up to `most` due dead letters, of all (None) or of those at most `age` seconds old; returns how many were due."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            since = EPOCH if age is None else dead_letters.before(await dead_letters.now(connection), age)
            ids = await dead_letters.lock_retryable(connection, retries=retries, backoff=backoff, since=since, most=most)
            if not ids:
                return 0
            outcome = await dead_letters.retry(connection, ids, how="automatic")
    except asyncpg.UniqueViolationError:  # another task took a unique key just now; the next step sees it
        return most
    await tell(outcome.retried, Status.PENDING)
    metrics.RETRIED.labels("automatic").inc(len(outcome.retried))
    log.info("dead letters retried automatically", count=len(outcome.retried))
    return len(ids)
