"""Rings due tasks: sleeps until the earliest one is due, looks twice a second, and at once when somebody says that one was written without a doorbell.

It rings tasks of paused queues too, as the API does: their doorbells wait in the lane, so that a resume needs no extra work.
"""

import asyncio
from typing import Final

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.due import LOOK_SECONDS
from waggle.bus.ring import Ringer
from waggle.loops import Looks, periodic, wait_for
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

LAG: Final = catalogue.DUE_LAG.create()
DUE_BATCH: Final = 1000  # tasks in one transaction
GATHER_SECONDS: Final = 0.02  # in which several messages become one look
RETRY_SECONDS: Final = 0.5  # in an outage
NATS_WAIT_SECONDS: Final = 5.0  # between two looks whether it is there


async def ring(pool: Connection, bus: Bus, ringer: Ringer, stopping: asyncio.Event) -> None:
    """Ring due tasks, but only while NATS is connected and stores: a task marked as rung without a doorbell would wait for the orphan rule."""
    wake, looks = asyncio.Event(), Looks()

    async def announced(_: object) -> None:
        wake.set()

    async def step() -> bool:
        wake.clear()
        if not bus.connected:
            await bus.renewed(NATS_WAIT_SECONDS)
            return True
        if not ringer.works:
            return False
        with looks.look() as back:
            seconds = await waiting.next_due(pool, back)
            bells = await waiting.mark_due(pool, DUE_BATCH, back) if seconds is not None and seconds <= 0 else []
        if seconds is not None and bells:
            LAG.observe(-seconds)
        await ringer.ring(bells)
        if len(bells) == DUE_BATCH:
            looks.left_some()
        elif bells or (seconds is not None and seconds <= 0):
            await asyncio.sleep(GATHER_SECONDS)
        else:
            await wait_for(wake, LOOK_SECONDS if seconds is None else min(seconds, LOOK_SECONDS))
        return True

    await bus.subscribe(subjects.DUE, announced)
    await periodic(RETRY_SECONDS, step, OUTAGE, stopping)
