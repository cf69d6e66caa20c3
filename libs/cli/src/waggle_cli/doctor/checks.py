"""The table of what the doctor looks at, and the look itself: check after check, each within a time of its own, whatever the others found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import asyncpg

from waggle.bus.connection import OUTAGE as BUS_OUTAGE
from waggle.store.postgres import OUTAGE
from waggle_cli.doctor import broker, clocks, database, disk, fleet, work
from waggle_cli.doctor.findings import Finding, error, reason
from waggle_cli.doctor.patient import Patient

CHECK_SECONDS: Final = 8.0
FAILED: Final[tuple[type[Exception], ...]] = (*OUTAGE, *BUS_OUTAGE, asyncpg.PostgresError)


class Check(NamedTuple):
    """What is looked at, how, and what of the patient must be there for it."""

    name: str
    look: Callable[[Patient], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()


CHECKS: Final = (
    Check("postgres", database.reachable),
    Check("postgres version", database.version, ("database",)),
    Check("durability", database.durability, ("database",)),
    Check("standby", database.standby, ("database",)),
    Check("connections", database.connections, ("database",)),
    Check("schema", database.schema, ("database",)),
    Check("nats", broker.reachable),
    Check("nats version", broker.version, ("nats",)),
    Check("jetstream", broker.jetstream, ("bus",)),
    Check("stream", broker.stream, ("bus",)),
    Check("consumers", broker.consumers, ("bus", "database", "schema_fits")),
    Check("breakers", broker.breakers, ("bus",)),
    Check("clocks", clocks.agree, ("database",)),
    Check("disk", disk.space),
    Check("api", fleet.api),
    Check("services", fleet.services, ("database",)),
    Check("workers", fleet.workers, ("database", "schema_fits")),
    Check("due tasks", work.due, ("database", "schema_fits")),
    Check("deadlines", work.deadlines, ("database", "schema_fits")),
    Check("running tasks", work.lost, ("database", "schema_fits")),
    Check("queues", work.queues, ("database", "schema_fits")),
    Check("types", work.types, ("database", "schema_fits")),
)


async def examine(patient: Patient) -> list[tuple[str, Finding]]:
    """Every finding with the name of its check, in the order of the table. A check whose needs are not there has none: what is missing was found before."""
    found = []
    for check in CHECKS:
        if all(getattr(patient, need) for need in check.needs):
            found += [(check.name, finding) for finding in await _look(check, patient)]
    return found


async def _look(check: Check, patient: Patient) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check.look(patient)
    except FAILED as problem:
        if patient.database and (patient.database.is_closed() or isinstance(problem, TimeoutError)):
            patient.database = None  # it stands still or is gone: the rest does not wait for it again
        return [error(f"could not be looked at: {reason(problem)}", "look again; when it stays, into the logs of Postgres and NATS")]
