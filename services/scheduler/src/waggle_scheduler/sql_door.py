"""Hears of tasks that were inserted by SQL, so that they are rung at once: `waggle.enqueue` notifies the channel `waggle_wake` at its commit.

Through a pooler nothing is heard. Then, and while the connection is away, the looks of the due loop find such tasks within half a second.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from waggle.loops import periodic, wait_for
from waggle.settings.services import SchedulerSettings
from waggle.store import postgres
from waggle.store.client import TimeLimitedConnection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.store.primary import PrimaryGate
from waggle.telemetry import catalogue

log = structlog.get_logger()

LISTENING: Final = catalogue.SQL_DOOR.create()
CHANNEL: Final = "waggle_wake"
RETRY_SECONDS: Final = 1.0  # before a connection that ended is replaced
LOOK_SECONDS: Final = 10.0  # between two looks whether it still answers


async def listen(settings: SchedulerSettings, gate: PrimaryGate, heard: Callable[[], None], stopping: asyncio.Event) -> None:
    """Call `heard` whenever tasks were inserted by SQL, and whenever that may have been missed."""

    async def step() -> bool:
        connection = await postgres.connect(settings, "scheduler-sql-door", gate=gate)
        try:
            if connection.through_pooler:
                log.warning("tasks inserted by SQL are rung half a second late: a pooler passes no notification on", set="WAGGLE_POSTGRES_DIRECT_URL")
                await stopping.wait()
            else:
                await _listen(connection, heard, stopping)
        finally:
            connection.terminate()
        return False

    await periodic(RETRY_SECONDS, step, POSTGRES_OUTAGE, stopping)


async def _listen(connection: TimeLimitedConnection, heard: Callable[[], None], stopping: asyncio.Event) -> None:
    """Returns when stopping; raises one of POSTGRES_OUTAGE when the connection ends."""
    over = asyncio.Event()

    def ended(_: object) -> None:
        over.set()

    connection.add_termination_listener(ended)
    await connection.add_listener(CHANNEL, lambda *_: heard())
    heard()
    LISTENING.set(1)
    stop = asyncio.create_task(stopping.wait())
    stop.add_done_callback(ended)
    try:
        while not stopping.is_set():
            await connection.execute("SELECT 1")
            await wait_for(over, LOOK_SECONDS)
    finally:
        LISTENING.set(0)
        stop.cancel()
