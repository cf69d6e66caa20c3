"""Rings tasks whose time has come: sleeps until the earliest one is due, and wakes when somebody wrote one that nobody rang.

Tasks of a paused queue are rung too, as the API rings those that it takes: their doorbells wait in the lane, and nobody has to look for them at the resume.
"""

import asyncio
from typing import Final

import structlog

from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.loops import periodic, wait_for
from waggle.settings.services import SchedulerSettings
from waggle.store import postgres, waiting
from waggle.store.client import Connection, TimeLimitedConnection
from waggle.store.sql import channel
from waggle_scheduler import OUTAGE

MOST: Final = 1000  # tasks rung in one transaction
LONGEST: Final = 5.0  # seconds of sleep, however far away the next task is
GATHER: Final = 0.02  # seconds in which many wakes become one
AGAIN: Final = 0.5  # seconds until the next try in an outage, and between two looks at the connection that listens

log = structlog.get_logger()


async def ring(pool: Connection, bus: Bus, ringer: Ringer, wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Only while NATS is there: a task marked as rung that nobody heard would have to wait for the orphan rule."""

    async def step() -> bool:
        wake.clear()
        if not bus.connected:
            await bus.renewed(LONGEST)
            return True
        bells = await waiting.mark_due(pool, MOST)
        await ringer.ring(bells)
        if len(bells) < MOST:
            await asyncio.sleep(GATHER)
            seconds = await waiting.next_due(pool)
            await wait_for(wake, LONGEST if seconds is None else min(max(seconds, 0.0), LONGEST))
        return True

    await periodic(AGAIN, step, OUTAGE, stopping)


async def listen(settings: SchedulerSettings, wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Set `wake` at each notification of a new task, on a connection of its own that is opened again for ever.

    Behind a pooler notifications arrive nowhere: without a direct connection it sets `wake` every half second.
    """
    connection: TimeLimitedConnection | None = None

    async def step() -> bool:
        nonlocal connection
        if connection is None or connection.is_closed():
            connection = await postgres.connect(settings, "scheduler", statement_seconds=5.0)
            if connection.through_pooler:
                log.warning("no direct connection to Postgres", effect="due tasks start up to 0.5 s late", setting="WAGGLE_POSTGRES_DIRECT_URL")
            else:
                await connection.add_listener(channel(settings.postgres_schema), lambda *_: wake.set())
            wake.set()  # for what was written while nobody listened
        try:
            await connection.fetchval("SELECT 1")
        except OUTAGE:  # also a connection that died silently
            connection.terminate()
            raise
        if connection.through_pooler:
            wake.set()
        return False

    try:
        await periodic(AGAIN, step, OUTAGE, stopping)
    finally:
        if connection is not None:
            connection.terminate()
