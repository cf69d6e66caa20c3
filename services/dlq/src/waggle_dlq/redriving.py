"""Redrives: every service executes one step of a due redrive at a time.

The lock of a step ends with its commit, so that another service continues when one dies.
"""

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import asyncpg
import structlog

from waggle.bus import due as bus_due
from waggle.bus.connection import Bus
from waggle.loops import periodic, wait_for
from waggle.redrive import Finish, LetGo, Stop, Wait, next_step
from waggle.store import redrives
from waggle.store.client import SingleConnection
from waggle.store.dead_letters import Retried
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.store.redrives import Due, Outcomes, RedriveBatch
from waggle.task import Status
from waggle_dlq import changing, metrics, telling
from waggle_dlq.telling import Tell

log = structlog.get_logger()

REDRIVE_RETRY_SECONDS: Final = 0.5  # in an outage
SHORTEST_SECONDS, LONGEST_SECONDS = 0.02, 1.0  # between two steps
WATCH_SECONDS: Final = 3600.0  # for which outcomes are counted after the end of a redrive
WATCH_INTERVAL_SECONDS: Final = 1.0
# A step failed by itself: another client holds its rows, or its filter took too long. Other redrives must not wait for it.
STUCK: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
POSTPONE_SECONDS: Final = 5.0  # seconds
NO_BATCH: Final = RedriveBatch(Retried([], {}), None, is_last=False, unfit=[])


async def redrive(pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Execute due steps; `wake` announces a redrive that began here, and polling finds the others."""

    async def step() -> bool:
        wake.clear()
        if await go_on(pool, partial(telling.tell, bus)):
            await bus_due.announce(bus)
        else:
            seconds = await redrives.seconds_to_next(pool)
            await wait_for(wake, LONGEST_SECONDS if seconds is None else min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS))
        return True

    await periodic(REDRIVE_RETRY_SECONDS, step, POSTGRES_OUTAGE, stopping)


async def go_on(pool: "asyncpg.Pool[asyncpg.Record]", tell: Tell) -> bool:
    """Execute one step of one redrive; False when none is due. A unique key taken just now undoes the step, and the next one sees it."""
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
        await redrives.postpone(pool, due.id, POSTPONE_SECONDS)
        log.warning("redrive step failed, postponed", redrive_id=str(due.id), error=str(error))
        return True
    await tell(portion.revival.retried, Status.PENDING)
    _log_end(due, state, portion)
    return True


async def _step(connection: SingleConnection, due: Due, outcomes: Outcomes) -> tuple[str, RedriveBatch]:
    recent = due.progress.recent.after(outcomes.ended, outcomes.failed)
    at = due.progress._replace(recent=recent, ended=due.progress.ended + outcomes.ended, open=outcomes.open)
    state, seconds, portion = "running", 0.0, NO_BATCH
    reason: str | None = None
    match next_step(at):
        case Stop(reason):
            state = "stopped"
        case Finish():
            state = "completed"
        case Wait(seconds):
            pass
        case LetGo(most, seconds):
            change = None if due.changes is None else partial(changing.change, due.changes)
            portion = await redrives.retry_batch(connection, due, most, change)
            state = "completed" if portion.is_last else "running"
    await redrives.advance(connection, due, state=state, outcomes=outcomes, portion=portion, recent=recent, reason=reason, seconds=seconds)
    return state, portion


async def _watch(connection: SingleConnection, due: Due, outcomes: Outcomes) -> tuple[str, RedriveBatch]:
    """A step of an ended redrive: only count the outcomes of its retried tasks."""
    is_young = due.ended_at is None or (due.now - due.ended_at).total_seconds() < WATCH_SECONDS
    recent = due.progress.recent.after(outcomes.ended, outcomes.failed)
    seconds = WATCH_INTERVAL_SECONDS if outcomes.open and is_young else None
    await redrives.advance(connection, due, state=due.state, outcomes=outcomes, portion=NO_BATCH, recent=recent, reason=None, seconds=seconds)
    return due.state, NO_BATCH


def _log_end(due: Due, state: str, portion: RedriveBatch) -> None:
    retried = len(portion.revival.retried)
    metrics.RETRIED.labels("redrive").inc(retried)
    for reason, count in Counter(portion.revival.obstacles.values()).items():
        metrics.SKIPPED.labels(reason).inc(count)
    if portion.unfit:
        metrics.SKIPPED.labels("unfit").inc(len(portion.unfit))
    if state == due.state:
        return
    metrics.REDRIVES.labels(state).inc()
    fields = {"redrive_id": str(due.id), "retried": due.progress.retried + retried, "asked_by": due.submitted_by}
    if state == "stopped":
        log.warning("redrive stopped, its tasks failed again", **fields)
    else:
        log.info("redrive completed", **fields)
