"""`python -m waggle_scheduler`: start, run and stop the scheduler."""

import asyncio
from typing import Final, NoReturn

import asyncpg

from waggle import doorbell_sizes, primaries, service
from waggle.bus import connection
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.loops import wait_for
from waggle.service import Service
from waggle.settings.services import SchedulerSettings
from waggle.store import postgres
from waggle.store.primary import PrimaryGate
from waggle_scheduler import alerts, deadlines, figures, odd_rows, orphans, reclaim, retention, sql_door, topology
from waggle_scheduler.due import DueRinger
from waggle_scheduler.waiting_lanes import WaitingLanes

SCHEDULER_CONNECTIONS: Final = 6
NATS_WAIT_SECONDS: Final = 5.0  # then it is ready without NATS


async def run(settings: SchedulerSettings) -> None:
    async with service.running("scheduler", settings) as scheduler:
        metrics_url = await scheduler.enter(service.metrics_endpoint(scheduler, settings.metrics_host, settings.metrics_port))
        gate = PrimaryGate()
        pool = await scheduler.enter(postgres.pool(settings, "scheduler", SCHEDULER_CONNECTIONS, gate=gate))
        bus = await scheduler.enter(connection.connection(settings, "scheduler"))
        scheduler.start("primary", primaries.share(gate, pool, bus, scheduler.stopping))
        await scheduler.until(postgres.wait_until_migrated(pool))
        ensured = await _start_loops(scheduler, pool, bus, gate)
        await scheduler.until(wait_for(ensured, NATS_WAIT_SECONDS))
        scheduler.ready(metrics_url=metrics_url)
        await scheduler.stopped()


async def _start_loops(scheduler: Service[SchedulerSettings], pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, gate: PrimaryGate) -> asyncio.Event:
    """Returns an event that is set once the topology exists."""
    settings, stopping = scheduler.settings, scheduler.stopping
    ringer = Ringer(bus)
    await ringer.open()
    scheduler.start("storing", ringer.storing.watch())
    scheduler.start("doorbell sizes", doorbell_sizes.keep(pool, ringer, stopping))
    ensured, lanes = asyncio.Event(), WaitingLanes()
    scheduler.start("topology", topology.keep(pool, bus, settings, lanes, ensured, stopping))
    due = DueRinger(pool, bus, ringer)
    scheduler.start("due", due.ring(stopping))
    scheduler.start("sql door", sql_door.listen(settings, gate, due.look, stopping))
    scheduler.start("orphans", orphans.ring(pool, bus, ringer, lanes, stopping))
    scheduler.start("reclaim", reclaim.keep_reclaiming(pool, bus, settings.lease, stopping))
    scheduler.start("deadlines", deadlines.fail_overdue(pool, bus, stopping))
    scheduler.start("retention", retention.delete_expired(pool, retention.ages(settings), stopping))
    scheduler.start("queue figures", figures.keep_queues(pool, stopping))
    scheduler.start("server figures", figures.keep_servers(pool, bus, settings.disks, stopping))
    scheduler.start("alerts", alerts.keep(pool, bus, ringer, settings, stopping))
    scheduler.start("odd rows", odd_rows.report(pool, stopping))
    return ensured


def main() -> NoReturn:
    service.main("scheduler", SchedulerSettings, run)


if __name__ == "__main__":
    main()
