"""The table of checks, and their run: one after the other, each with its own time limit, whatever the others found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import asyncpg

from waggle.bus.connection import NATS_OUTAGE
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_cli.doctor import broker, clocks, database, disk, fleet, primary, progress, snapshots, telemetry, work
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, error, reason

CHECK_SECONDS: Final = 8.0
FAILED: Final[tuple[type[Exception], ...]] = (*POSTGRES_OUTAGE, *NATS_OUTAGE, asyncpg.PostgresError)


class Check(NamedTuple):
    """The name of a check, its function, and the fields of the deployment that it needs."""

    name: str
    check: Callable[[Deployment], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()


CHECKS: Final = (
    Check("postgres", database.reachable),
    Check("postgres version", database.version, ("database",)),
    Check("durability", database.durability, ("database",)),
    Check("standby", database.standby, ("database",)),
    Check("connections", database.connections, ("database",)),
    Check("old snapshots", snapshots.old, ("database",)),
    Check("schema", database.schema, ("database",)),
    Check("dead rows", telemetry.bloat, ("database", "schema_fits")),
    Check("nats", broker.reachable),
    Check("nats version", broker.version, ("nats",)),
    Check("jetstream", broker.jetstream, ("bus",)),
    Check("stream", broker.stream, ("bus",)),
    Check("storing", broker.stores, ("bus",)),
    Check("consumers", broker.consumers, ("bus", "database", "schema_fits")),
    Check("breakers", broker.breakers, ("bus",)),
    Check("open breakers", progress.breakers, ("bus", "bucket")),
    Check("primary", primary.agree, ("bus", "database")),
    Check("clocks", clocks.agree, ("database",)),
    Check("clock jumps", clocks.jumps, ("database", "schema_fits")),
    Check("disk", disk.space),
    Check("api", fleet.api),
    Check("services", fleet.services, ("database",)),
    Check("workers", fleet.workers, ("database", "schema_fits")),
    Check("metrics", telemetry.scraped, ("metrics_urls",)),
    Check("alerts", telemetry.firing, ("database", "schema_fits")),
    Check("due tasks", work.due, ("database", "schema_fits")),
    Check("deadlines", work.deadlines, ("database", "schema_fits")),
    Check("running tasks", work.lost, ("database", "schema_fits")),
    Check("queues", work.queues, ("database", "schema_fits")),
    Check("types", work.types, ("database", "schema_fits")),
    Check("versions", work.versions, ("database", "schema_fits")),
    Check("waiting tasks", progress.waiting, ("database", "schema_fits")),
    Check("dead letters", progress.deaths, ("database", "schema_fits")),
)


async def examine(deployment: Deployment) -> list[tuple[str, Finding]]:
    """Every finding with the name of its check, in the order of the table. A check without its needs is skipped: an earlier one reported what is missing."""
    found = []
    for check in CHECKS:
        if all(getattr(deployment, need) for need in check.needs):
            found += [(check.name, finding) for finding in await _findings(check, deployment)]
    return found


async def _findings(check: Check, deployment: Deployment) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check.check(deployment)
    except FAILED as problem:
        if deployment.database and (deployment.database.is_closed() or isinstance(problem, TimeoutError)):
            deployment.database = None  # it hangs or is gone: the other checks do not wait for it again
        return [error(f"the check failed: {reason(problem)}", "try again; if it persists, read the logs of Postgres and NATS")]
