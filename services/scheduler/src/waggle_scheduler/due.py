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


class DueRinger:
    """The loop is `ring`; `look` wakes it for tasks that may have been due for long, such as those that somebody inserted by SQL and committed late."""

    def __init__(self, pool: Connection, bus: Bus, ringer: Ringer) -> None:
        self._pool, self._bus, self._ringer = pool, bus, ringer
        self._wake, self._looks = asyncio.Event(), Looks()
        self._asked = False  # for a look at everything

    def look(self) -> None:
        self._asked = True
        self._wake.set()

    async def ring(self, stopping: asyncio.Event) -> None:
        """Ring due tasks, but only while NATS is connected and stores: a task marked as rung without a doorbell would wait for the orphan rule."""
        await self._bus.subscribe(subjects.DUE, self._announced)
        await periodic(RETRY_SECONDS, self._step, OUTAGE, stopping)

    async def _announced(self, _: object) -> None:
        self._wake.set()

    async def _step(self) -> bool:
        self._wake.clear()
        if not self._bus.connected:
            await self._bus.renewed(NATS_WAIT_SECONDS)
            return True
        if not self._ringer.works:
            return False
        if self._asked:
            self._asked = False
            self._looks.left_some()
        with self._looks.look() as back:
            seconds = await waiting.next_due(self._pool, back)
            bells = await waiting.mark_due(self._pool, DUE_BATCH, back) if seconds is not None and seconds <= 0 else []
        if seconds is not None and bells:
            LAG.observe(-seconds)
        await self._ringer.ring(bells)
        if len(bells) == DUE_BATCH:
            self._looks.left_some()
        elif bells or (seconds is not None and seconds <= 0):
            await asyncio.sleep(GATHER_SECONDS)
        else:
            await wait_for(self._wake, LOOK_SECONDS if seconds is None else min(seconds, LOOK_SECONDS))
        return True
