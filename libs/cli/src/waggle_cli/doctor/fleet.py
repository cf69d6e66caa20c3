"""The processes: workers by their leases, the other services by their connections to Postgres, the API by asking it."""

from importlib.metadata import version
from typing import Final

import httpx2

from waggle.store import diagnosis, leases
from waggle_cli.doctor.findings import Finding, count, error, ok, reason, skipped, warning
from waggle_cli.doctor.patient import Patient

API_SECONDS: Final = 3.0
MISSING: Final = {
    "scheduler": "due tasks are not rung, and lost ones are not taken back: start `waggle scheduler`",
    "dlq": "dead letters are neither retried nor cleaned up: start `waggle dlq`",
    "api": "nothing is accepted by REST: start `waggle api`",
}


async def workers(patient: Patient) -> list[Finding]:
    assert patient.database
    alive = [worker for worker in await leases.workers(patient.database) if worker["alive"]]
    if not alive:
        return [warning("no worker is alive: no task runs", "start `waggle worker`, or look into its log")]
    ours = version("waggle-cli")
    slots, running = sum(worker["concurrency"] for worker in alive), sum(worker["running"] for worker in alive)
    found = [ok(f"{count(len(alive), 'worker')} alive, {running:,} of {slots:,} slots busy")]
    if others := sorted({worker["version"] for worker in alive} - {ours}):
        found.append(warning(f"workers of version {', '.join(others)} beside this {ours}", "fine while you deploy; otherwise bring all to one version"))
    return found


async def services(patient: Patient) -> list[Finding]:
    """Who is connected to Postgres, by the name that each service gives itself. (One that waits for its first use of it is not.)"""
    assert patient.database
    there = await diagnosis.connected_services(patient.database)
    missing = [name for name in MISSING if name not in there]
    found = [warning(f"no {name} is connected to Postgres", MISSING[name]) for name in missing]
    here = [name for name in MISSING if name in there]
    return ([ok(f"connected to Postgres: {', '.join(here)}")] if here else []) + found


async def api(patient: Patient) -> list[Finding]:
    if not patient.api_url:
        return [skipped("no address of an API is known here", "give --url, or set WAGGLE_URL, to have it looked at")]
    away = f"start `waggle api`, or correct the address; its log says what it waits for ({patient.api_address})"
    try:
        async with httpx2.AsyncClient(base_url=patient.api_url, timeout=API_SECONDS, trust_env=False) as client:
            answer = await client.get("/health")
            report = answer.json()
            status, of = str(report["status"]), str(report["version"])
    except httpx2.RequestError as problem:
        return [error(f"{patient.api_address} does not answer: {reason(problem)}", away)]
    except (ValueError, KeyError, TypeError):
        return [error(f"{patient.api_address} answers, but not as Waggle does (status {answer.status_code})", "correct --url or WAGGLE_URL")]
    match status:
        case "ok":
            return [ok(f"{patient.api_address} is ready (version {of})")]
        case "degraded":
            return [
                warning(
                    f"{patient.api_address} accepts tasks, but has no NATS: they wait", "see what is said of NATS; from the API's machine it may look different"
                )
            ]
        case _:
            return [error(f"{patient.api_address} is {status}: it accepts nothing", away)]
