"""Checks of Postgres: reachable, new enough, durable, replicated, with free connections, at this code's schema."""

from typing import Final

import asyncpg

from waggle.settings.shared import SettingsError
from waggle.store import definitions, diagnosis, postgres
from waggle.store.postgres import MINIMUM_VERSION
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, error, ok, reason, skipped, warning

SLOW_COMMIT_SECONDS: Final = 2.0  # that a commit waits for a standby
BUSY: Final = 0.9  # of the connections that the server allows


CREDENTIALS: Final = "correct the user and password in WAGGLE_POSTGRES_URL, or pg_hba.conf on the server (of a pooler: its auth_file)"
NO_DATABASE: Final = "create the database, then run `waggle migrate`; of a pooler, it also stands in its [databases]"
# PgBouncer has one error code for all that it refuses.
POOLER_SAYS: Final = {
    "password authentication failed": CREDENTIALS,
    "no such user": CREDENTIALS,
    "does not exist": NO_DATABASE,
    "no such database": NO_DATABASE,
    "statement pooling mode": "set pool_mode = transaction in the pooler, for this database: Waggle works in transactions",
    "startup parameter": "add the parameter to ignore_startup_parameters of the pooler, or remove it from WAGGLE_POSTGRES_URL",
    "no more connections allowed": "raise max_client_conn of the pooler, or run fewer processes",
}
MIGRATE: Final = "run `waggle migrate`"
MIGRATE_DIRECTLY: Final = "set WAGGLE_POSTGRES_DIRECT_URL to Postgres itself, then run `waggle migrate`: it does not run through a pooler"


async def reachable(deployment: Deployment) -> list[Finding]:
    if deployment.database:
        if deployment.database.through_pooler and not deployment.settings.postgres_direct_url:
            what = f"{deployment.postgres_address} is a pooler: `waggle migrate` does not run"
            return [warning(what, "set WAGGLE_POSTGRES_DIRECT_URL to Postgres itself")]
        return [ok(f"{deployment.postgres_address} answers in {deployment.postgres_seconds * 1000:.1f} ms")]
    assert deployment.postgres_error is not None
    return [error(f"{deployment.postgres_address} cannot be used: {reason(deployment.postgres_error)}", _connection_advice(deployment.postgres_error))]


def _connection_advice(problem: Exception) -> str:
    match problem:
        case asyncpg.InvalidCatalogNameError():
            return NO_DATABASE
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InsufficientPrivilegeError():
            return CREDENTIALS
        case asyncpg.TooManyConnectionsError():
            return "raise the server's max_connections, or run fewer processes"
        case _ if known := [advice for said, advice in POOLER_SAYS.items() if said in str(problem)]:
            return known[0]
        case _:
            return "start Postgres, or correct WAGGLE_POSTGRES_URL; until it answers no task is accepted, and no accepted task is lost"


async def version(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    facts = await diagnosis.server(deployment.database)
    if facts["number"] < MINIMUM_VERSION * 10_000:
        return [error(f"Postgres {facts['version']} is too old", f"upgrade it to {MINIMUM_VERSION} or newer")]
    if facts["standby"]:
        return [error("this server is a standby: it accepts no writes", "set WAGGLE_POSTGRES_URL to the primary, or promote this server")]
    return [ok(f"Postgres {facts['version'].partition(' ')[0]}, {facts['bytes'] / 2**20:,.0f} MiB in this database")]


async def durability(deployment: Deployment) -> list[Finding]:
    """What a crash or a power cut can lose. Services set synchronous_commit themselves; other clients get the server's setting."""
    assert deployment.database
    facts = await diagnosis.server(deployment.database)
    found = []
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            found.append(warning(f"{name} is {facts[name]}: a power cut can lose or corrupt accepted tasks", f"set {name} = on in postgresql.conf"))
    if facts["synchronous_commit"] not in ("on", "remote_apply"):
        advice = "set synchronous_commit = on for the server or the role (the services set it themselves)"
        found.append(warning(f"synchronous_commit is {facts['synchronous_commit']}: tasks inserted by SQL may be lost in a crash", advice))
    return found or [ok("commits are on disk before they are confirmed")]


async def standby(deployment: Deployment) -> list[Finding]:
    """A failover to an asynchronous standby loses what was not replicated yet: accepted tasks, cancellations, results."""
    assert deployment.database
    standbys, wanted = await diagnosis.standbys(deployment.database), (await diagnosis.server(deployment.database))["synchronous_standby_names"]
    names = ", ".join(sorted(row["name"] for row in standbys))
    waiting, seconds = await diagnosis.waiting_for_standby(deployment.database)
    if wanted and seconds >= SLOW_COMMIT_SECONDS:
        what = f"{waiting} commits wait for a synchronous standby ({wanted}; connected: {names or 'none'}), the longest for {seconds:.0f} s"
        return [error(what, "start that standby or its network, or take it out of synchronous_standby_names: until then no task is accepted or settled")]
    if any(row["sync_state"] in ("sync", "quorum") for row in standbys):
        return [ok(f"replicated synchronously ({names})")]
    if standbys and any(row["sync_state"] is None for row in standbys):
        return [skipped(f"this role cannot see whether the standby is synchronous ({names})", "GRANT pg_monitor to the role, and run the doctor again")]
    if wanted:
        return [error(f"commits wait for a synchronous standby ({wanted}) that is not connected", "start the standby, or clear synchronous_standby_names")]
    if standbys:
        advice = "list it in synchronous_standby_names; otherwise a failover can lose accepted tasks and revive cancelled ones"
        return [warning(f"the standby is asynchronous ({names})", advice)]
    return [ok("no standby: accepted tasks are as safe as this server's disk")]


async def connections(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    facts = await diagnosis.server(deployment.database)
    used, limit = facts["connections"], facts["connections_most"]
    what = f"{used} of {limit} connections in use"
    if used >= limit * BUSY:
        return [warning(what, "raise max_connections: a service without a connection waits")]
    return [ok(what)]


async def schema(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    try:
        found, wanted = await _schema(deployment.database), postgres.head()
    except SettingsError as foreign:
        what, _, advice = str(foreign).partition(": ")
        return [error(what, advice)]
    if found is None:
        return [error("the database has no schema", _migration(deployment))]
    if found < wanted:
        return [error(f"the schema is at {found}, this Waggle needs {wanted}: its services wait", _migration(deployment))]
    if found > wanted:
        return [error(f"the schema is at {found}, newer than this Waggle's {wanted}: its services refuse to start", "upgrade Waggle here")]
    deployment.schema_fits = True
    if damage := definitions.differences(definitions.expected(), await definitions.read(deployment.database)):
        return [error(line, "undo the change, or restore it from the output of `waggle migrate --sql` for an empty database") for line in damage]
    return [ok(f"the schema is at {found}, which this Waggle needs")]


def _migration(deployment: Deployment) -> str:
    assert deployment.database
    return MIGRATE_DIRECTLY if deployment.database.through_pooler and not deployment.settings.postgres_direct_url else MIGRATE


async def _schema(database: "asyncpg.Connection[asyncpg.Record]") -> str | None:
    try:
        return (await postgres.versions(database))[1]
    except asyncpg.InsufficientPrivilegeError:
        return None
