"""Keeps the stream and a consumer per lane in place: at the start, after each reconnect (the store may be wiped), and for new queues."""

import asyncio
from typing import Final

import structlog

from waggle.bus import subjects, topology
from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.settings.services import SchedulerSettings
from waggle.store import catalogue
from waggle.store.client import Connection
from waggle_scheduler import OUTAGE
from waggle_scheduler.waiting_lanes import WaitingLanes

log = structlog.get_logger()

TOPOLOGY_CHECK_SECONDS: Final = 2.0
TOPOLOGY_RETRY_SECONDS: Final = 0.5  # in an outage


async def keep(pool: Connection, bus: Bus, settings: SchedulerSettings, waiting_lanes: WaitingLanes, ensured: asyncio.Event, stopping: asyncio.Event) -> None:
    """Set `ensured` once everything exists. Several schedulers may create the same thing at once: NATS treats the second as a repetition."""
    unfit: set[str] = set()

    async def step() -> bool:
        if bus.connected:
            queues = {*await catalogue.queues(pool), *(queue for queue, _ in await waiting_lanes.names(pool))}  # announced by a worker, or named by a task
            for queue in sorted(queue for queue in queues - unfit if not subjects.fits(queue)):
                log.error("queue name not usable, its tasks wait", queue=queue)
                unfit.add(queue)
            await topology.ensure(bus, settings, sorted(queues - unfit))
            ensured.set()
        await bus.renewed(TOPOLOGY_CHECK_SECONDS)
        return True

    await periodic(TOPOLOGY_RETRY_SECONDS, step, OUTAGE, stopping)
