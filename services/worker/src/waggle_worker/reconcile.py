"""With each heartbeat the worker compares its runs with the database: rows that it does not run go back, runs that lost their row are stopped."""

import structlog

from waggle.store import leases
from waggle.store.client import Connection
from waggle.task import AttemptOutcome, Snoozed, Tries, decide
from waggle.telemetry.catalogue import OTHER
from waggle_worker.claims import Claims
from waggle_worker.lease import Lease
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler

log = structlog.get_logger()

OLD_SHARE = 2 / 3  # of a lease: how long a claim may be under way (10 s by default)


async def reconcile(connection: Connection, lease: Lease, lease_seconds: float, claims: Claims, runs: Runs, settler: Settler) -> None:
    """Both directions; it costs no task a try. Raises one of POSTGRES_OUTAGE."""
    before = runs.attempts
    holdings = await leases.holdings(connection, lease.id, lease_seconds * OLD_SHARE)
    rows = {(fence.id, fence.attempt, fence.started_at) for fence, _ in holdings}
    runs.stop(before & runs.attempts - rows, "not_ours")
    here = runs.attempts
    for fence, old in holdings:
        if old and (fence.id, fence.attempt, fence.started_at) not in here and fence.id not in claims.under_way and not settler.holds(fence):
            log.warning("unknown running task given back", task_id=str(fence.id), attempt=fence.attempt, worker_id=fence.worker_id)
            settler.add(fence, decide(Snoozed(0.0, AttemptOutcome.GIVEN_BACK), Tries(0, 0)), OTHER, "")
