"""Rings due tasks: sleeps until the earliest one is due, and wakes when one is written without a doorbell.

It rings tasks of paused queues too, as the API does: their doorbells wait in the lane, so that a resume needs no extra work.
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

DUE_BATCH: Final = 1000  # tasks in one transaction
LONGEST_SLEEP_SECONDS: Final = 5.0  # even if the next task is due later
GATHER_SECONDS: Final = 0.02  # in which several wakes become one
DUE_RETRY_SECONDS: Final = 0.5  # in an outage; also between two checks of the listening connection

log = structlog.get_logger()


async def ring(pool: Connection, bus: Bus, ringer: Ringer, wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Ring due tasks, but only while NATS is connected and stores: a task marked as rung without a doorbell would wait for the orphan rule."""

    async def step() -> bool:
        wake.clear()
        if not bus.connected:
            await bus.renewed(LONGEST_SLEEP_SECONDS)
            return True
        if not ringer.works:
            return False
        bells = await waiting.mark_due(pool, DUE_BATCH)
        await ringer.ring(bells)
        if len(bells) < DUE_BATCH:
            await asyncio.sleep(GATHER_SECONDS)
            seconds = await waiting.next_due(pool)
            await wait_for(wake, LONGEST_SLEEP_SECONDS if seconds is None else min(max(seconds, 0.0), LONGEST_SLEEP_SECONDS))
        return True

    await periodic(DUE_RETRY_SECONDS, step, OUTAGE, stopping)


async def listen(settings: SchedulerSettings, wake: asyncio.Event, stopping: asyncio.Event) -> None:
    """Set `wake` at each notification of a new task, on a connection of its own that is opened again forever.

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
            wake.set()  # for tasks written before it listened
        try:
            await connection.fetchval("SELECT 1")
        except OUTAGE:  # also a connection that died silently
            connection.terminate()
            raise
        if connection.through_pooler:
            wake.set()
        return False

    try:
        await periodic(DUE_RETRY_SECONDS, step, OUTAGE, stopping)
    finally:
        if connection is not None:
            connection.terminate()
