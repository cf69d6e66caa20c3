"""Redrives: every service goes on with whichever is due, a step at a time.

The lock of a step ends with its commit, so a service that dies leaves the rest to another.
"""

import asyncio
from collections import Counter
from typing import Final

import asyncpg
import structlog

from waggle.loops import periodic, wait_for
from waggle.redrive import Finish, LetGo, Stop, Wait, next_step
from waggle.store import redrives
from waggle.store.client import SingleConnection
from waggle.store.dead_letters import Retried
from waggle.store.postgres import OUTAGE
from waggle.store.redrives import Due, Outcomes, RedriveBatch
from waggle_dlq import metrics

log = structlog.get_logger()

AGAIN: Final = 0.5  # seconds until the next try in an outage
SHORTEST, LONGEST = 0.02, 1.0  # seconds between two looks
WATCH_SECONDS: Final = 3600.0  # how long outcomes are counted after a redrive has ended
WATCH_EVERY: Final = 1.0
# A step that could not be done for a reason of its own: others hold its rows, or its filter took too long. Other redrives must not wait for it.
STUCK: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
PUT_OFF: Final = 5.0  # seconds
NOTHING: Final = RedriveBatch(Retried([], {}), None, is_last=False)


async def redrive(pool: "asyncpg.Pool[asyncpg.Record]", wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Wakes when a redrive began here, and looks for those of others."""

    async def step() -> bool:
        wake.clear()
        if not await go_on(pool):
            seconds = await redrives.seconds_to_next(pool)
            await wait_for(wake, LONGEST if seconds is None else min(max(seconds, SHORTEST), LONGEST))
        return True

    await periodic(AGAIN, step, OUTAGE, stopping)


async def go_on(pool: "asyncpg.Pool[asyncpg.Record]") -> bool:
    """One step of one redrive; False when none is due. A unique key that was taken at this moment undoes the step, and the next one sees it."""
    due: Due | None = None
    try:
        async with pool.acquire() as connection, connection.transaction():
            due = await redrives.lock_due(connection)
            if due is None:
                return False
            outcomes = await redrives.note_outcomes(connection, due.id)
            state, portion = await _step(connection, due, outcomes) if due.state == "running" else await _watch(connection, due, outcomes)
    except asyncpg.UniqueViolationError:
        return True
    except STUCK as error:
        if due is None:
            raise
        await redrives.postpone(pool, due.id, PUT_OFF)
        log.warning("redrive put off: its step could not be done", redrive_id=str(due.id), error=str(error))
        return True
    _tell(due, state, portion)
    return True


async def _step(connection: SingleConnection, due: Due, outcomes: Outcomes) -> tuple[str, RedriveBatch]:
    recent = due.progress.recent.after(outcomes.ended, outcomes.failed)
    at = due.progress._replace(recent=recent, ended=due.progress.ended + outcomes.ended, open=outcomes.open)
    state, seconds, portion = "running", 0.0, NOTHING
    reason: str | None = None
    match next_step(at):
        case Stop(told):
            state, reason = "stopped", told
        case Finish():
            state = "completed"
        case Wait(seconds):
            pass
        case LetGo(most, seconds):
            portion = await redrives.retry_batch(connection, due, most)
            state = "completed" if portion.is_last else "running"
    await redrives.advance(connection, due, state=state, outcomes=outcomes, portion=portion, recent=recent, reason=reason, seconds=seconds)
    return state, portion


async def _watch(connection: SingleConnection, due: Due, outcomes: Outcomes) -> tuple[str, RedriveBatch]:
    """Of one that has ended: only how those that are still on their way do."""
    is_young = due.ended_at is None or (due.now - due.ended_at).total_seconds() < WATCH_SECONDS
    recent = due.progress.recent.after(outcomes.ended, outcomes.failed)
    seconds = WATCH_EVERY if outcomes.open and is_young else None
    await redrives.advance(connection, due, state=due.state, outcomes=outcomes, portion=NOTHING, recent=recent, reason=None, seconds=seconds)
    return due.state, NOTHING


def _tell(due: Due, state: str, portion: RedriveBatch) -> None:
    retried = len(portion.revival.retried)
    metrics.RETRIED.labels("redrive").inc(retried)
    for reason, count in Counter(portion.revival.obstacles.values()).items():
        metrics.SKIPPED.labels(reason).inc(count)
    if state == due.state:
        return
    metrics.REDRIVES.labels(state).inc()
    told = {"redrive_id": str(due.id), "retried": due.progress.retried + retried, "asked_by": due.submitted_by}
    if state == "stopped":
        log.warning("redrive stopped: what it retried failed again", **told)
    else:
        log.info("redrive completed", **told)
