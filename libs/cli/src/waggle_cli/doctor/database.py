"""Postgres: reachable, new enough, durable, replicated, with room, and at this code's schema."""

from typing import Final

import asyncpg

from waggle.store import diagnosis, postgres
from waggle.store.postgres import MINIMUM_VERSION
from waggle_cli.doctor.findings import Finding, error, ok, reason, skipped, warning
from waggle_cli.doctor.patient import Patient

BUSY: Final = 0.9  # of the connections that the server allows


async def reachable(patient: Patient) -> list[Finding]:
    if patient.database:
        return [ok(f"{patient.postgres_address} answers in {patient.postgres_seconds * 1000:.1f} ms")]
    assert patient.postgres_error is not None
    return [error(f"{patient.postgres_address} cannot be used: {reason(patient.postgres_error)}", _way_in(patient.postgres_error))]


def _way_in(problem: Exception) -> str:
    match problem:
        case asyncpg.InvalidCatalogNameError():
            return "create the database, then run `waggle migrate`"
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InsufficientPrivilegeError():
            return "correct the user and the password in WAGGLE_POSTGRES_URL, or pg_hba.conf on the server"
        case asyncpg.TooManyConnectionsError():
            return "raise max_connections of the server, or run fewer processes"
        case _:
            return "start Postgres, or correct WAGGLE_POSTGRES_URL; nothing is accepted until it answers, and nothing that was accepted is lost"


async def version(patient: Patient) -> list[Finding]:
    assert patient.database
    facts = await diagnosis.server(patient.database)
    if facts["number"] < MINIMUM_VERSION * 10_000:
        return [error(f"Postgres {facts['version']} is too old", f"upgrade it to {MINIMUM_VERSION} or newer")]
    if facts["standby"]:
        return [error("this server is a standby: it takes no writes", "let WAGGLE_POSTGRES_URL name the primary, or promote this one")]
    return [ok(f"Postgres {facts['version'].partition(' ')[0]}, {facts['bytes'] / 2**20:,.0f} MiB in this database")]


async def durability(patient: Patient) -> list[Finding]:
    """What a crash or a power cut costs. Services set synchronous_commit themselves; who inserts by SQL has the server's."""
    assert patient.database
    facts = await diagnosis.server(patient.database)
    found = []
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            found.append(warning(f"{name} is {facts[name]}: a power cut can lose or spoil accepted tasks", f"set {name} = on in postgresql.conf"))
    if facts["synchronous_commit"] not in ("on", "remote_apply"):
        advice = "set synchronous_commit = on for the server or the role; the services do so for themselves"
        found.append(warning(f"synchronous_commit is {facts['synchronous_commit']}: what others insert by SQL may be lost in a crash", advice))
    return found or [ok("commits are on disk before they are answered")]


async def standby(patient: Patient) -> list[Finding]:
    """A failover to an asynchronous standby loses what it had not yet: accepted tasks, cancels, ends."""
    assert patient.database
    standbys, wanted = await diagnosis.standbys(patient.database), (await diagnosis.server(patient.database))["synchronous_standby_names"]
    names = ", ".join(sorted(row["name"] for row in standbys))
    if any(row["sync_state"] in ("sync", "quorum") for row in standbys):
        return [ok(f"replicated synchronously ({names})")]
    if standbys and any(row["sync_state"] is None for row in standbys):
        return [skipped(f"this role may not see whether the standby is synchronous ({names})", "GRANT pg_monitor to the role, and look again")]
    if wanted:
        return [error(f"commits wait for a synchronous standby ({wanted}) that is not connected", "start the standby, or empty synchronous_standby_names")]
    if standbys:
        advice = "name it in synchronous_standby_names; otherwise a failover can lose accepted tasks and bring cancelled ones back"
        return [warning(f"the standby is asynchronous ({names})", advice)]
    return [ok("no standby: accepted tasks are as safe as this server's disk")]


async def connections(patient: Patient) -> list[Finding]:
    assert patient.database
    facts = await diagnosis.server(patient.database)
    used, most = facts["connections"], facts["connections_most"]
    what = f"{used} of {most} connections are in use"
    if used >= most * BUSY:
        return [warning(what, "raise max_connections: a service that gets none waits")]
    return [ok(what)]


async def schema(patient: Patient) -> list[Finding]:
    assert patient.database
    found, wanted = await _schema(patient.database), postgres.head()
    if found is None:
        return [error("the database has no schema", "run `waggle migrate`")]
    if found < wanted:
        return [error(f"the schema is at {found}, this Waggle needs {wanted}: its services wait", "run `waggle migrate`")]
    if found > wanted:
        return [error(f"the schema is at {found}, newer than this Waggle's {wanted}: its services refuse to start", "upgrade Waggle here")]
    patient.schema_fits = True
    return [ok(f"the schema is at {found}, as this Waggle needs it")]


async def _schema(database: "asyncpg.Connection[asyncpg.Record]") -> str | None:
    try:
        return (await postgres.versions(database))[1]
    except asyncpg.InsufficientPrivilegeError:
        return None
