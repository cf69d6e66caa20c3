"""Check that nobody holds an old snapshot: Postgres then keeps every dead row, and all statements have to pass over more and more of them."""

from collections.abc import Sequence
from typing import Final

from waggle.store import snapshots
from waggle.store.snapshots import HeldSnapshot
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, count, ok, skipped, warning

ADVICE: Final = {
    "session": "end its transaction, or run SELECT pg_terminate_backend({name})",
    "prepared transaction": "in database {database} run COMMIT PREPARED '{name}' or ROLLBACK PREPARED '{name}'",
    "replication slot": "start what reads it, or run SELECT pg_drop_replication_slot('{name}')",
    "standby": "end the long query on the standby, or set hot_standby_feedback = off there",
}


async def old(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    held, hidden = await snapshots.held(deployment.database), await snapshots.hidden(deployment.database)
    return findings(held, hidden)


def findings(held: Sequence[HeldSnapshot], hidden: int) -> list[Finding]:
    """One for each old snapshot, and one for the sessions that this role may not look into."""
    found = [_culprit(snapshot) for snapshot in held if snapshot.is_old]
    if hidden:
        found.append(skipped(f"this role cannot see the snapshots of {count(hidden, 'session')}", "GRANT pg_monitor to the role, and run the doctor again"))
    return found or [ok("nobody holds a snapshot for longer than a minute")]


def _culprit(snapshot: HeldSnapshot) -> Finding:
    details = [text for text in (snapshot.role, snapshot.application, snapshot.state) if text]
    who = f"{snapshot.kind} {snapshot.name}" + (f" ({', '.join(details)})" if details else "")
    age = f"for {snapshot.seconds:,.0f} s" if snapshot.seconds is not None else f"for {snapshot.transactions:,} transactions"
    return warning(
        f"{who} has held a snapshot {age}: no dead row is removed, and all work becomes slower", ADVICE[snapshot.kind].format_map(snapshot._asdict())
    )
