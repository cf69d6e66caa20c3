"""Keeps the stream and a consumer for each lane there: at the start, at each new connection (the store may be gone), and as queues appear."""

import asyncio
from typing import Final

import structlog

from waggle.bus import subjects, topology
from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.settings.services import SchedulerSettings
from waggle.store import catalogue, waiting
from waggle.store.client import Connection
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 2.0
AGAIN: Final = 0.5  # seconds until the next try in an outage


async def keep(pool: Connection, bus: Bus, settings: SchedulerSettings, ensured: asyncio.Event, stopping: asyncio.Event) -> None:
    """Sets `ensured` once all was there. Several schedulers may create the same thing at once: NATS takes the second for a repetition."""
    unfit: set[str] = set()

    async def step() -> bool:
        if bus.connected:
            queues = {*await catalogue.queues(pool), *(queue for queue, _ in await waiting.lanes(pool))}  # announced, or waited in all the same
            for queue in sorted(queue for queue in queues - unfit if not subjects.fits(queue)):
                log.error("queue name not usable, its tasks wait", queue=queue)
                unfit.add(queue)
            await topology.ensure(bus, settings, sorted(queues - unfit))
            ensured.set()
        await bus.renewed(EVERY)
        return True

    await periodic(AGAIN, step, OUTAGE, stopping)
