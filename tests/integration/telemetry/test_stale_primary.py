"""While a service stays away from a primary that was replaced, its metrics say so."""

import asyncpg

from support.facts import until
from support.metrics import counted
from support.processes import Process
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus

SERVICES = ("api", "worker", "dlq", "scheduler")


async def test_every_service_shows_that_it_stays_away(start: Services, pool: asyncpg.Pool, bus: Bus) -> None:
    """They hear of a newer primary, and the address still leads to this one."""
    started = [await start(name) for name in SERVICES]
    system = await pool.fetchval("SELECT system_identifier FROM pg_control_system()")

    async def stays_away(process: Process) -> bool:
        return await counted(process, "waggle_postgres_stale") == {"": 1.0}

    assert not any([await stays_away(process) for process in started])
    await bus.publish(subjects.PRIMARY, subjects.primary_message(system, 99))
    for process in started:
        await until(lambda process=process: stays_away(process), what=f"the metric of {process.name}")
