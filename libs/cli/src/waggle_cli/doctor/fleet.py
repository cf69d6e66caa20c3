"""The processes: workers by their leases, the other services by their connections to Postgres, the API by a request."""

from importlib.metadata import version
from typing import Final

import httpx2

from waggle.store import diagnosis, leases
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, count, error, ok, reason, skipped, warning
from waggle_cli.rest.client import trusted
from waggle_cli.rest.errors import Unreachable

API_SECONDS: Final = 3.0
MISSING: Final = {
    "scheduler": "start `waggle scheduler`: without it due tasks are not rung, and lost tasks are not taken back",
    "dlq": "start `waggle dlq`: without it dead letters are neither retried nor cleaned up",
    "api": "start `waggle api`: without it no task is accepted by REST",
}


async def workers(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    alive = [worker for worker in await leases.workers(deployment.database) if worker["alive"]]
    if not alive:
        return [warning("no worker is alive: no task runs", "start `waggle worker`, or read its log")]
    ours = version("waggle-cli")
    slots, running = sum(worker["concurrency"] for worker in alive), sum(worker["running"] for worker in alive)
    found = [ok(f"{count(len(alive), 'worker')} alive, {running:,} of {slots:,} slots busy")]
    if others := sorted({worker["version"] for worker in alive} - {ours}):
        found.append(warning(f"workers of version {', '.join(others)} beside this {ours}", "fine during a deployment; otherwise upgrade all to one version"))
    return found


async def services(deployment: Deployment) -> list[Finding]:
    """Which services are connected to Postgres, by their application names. (One that has not used it yet is not connected.)"""
    assert deployment.database
    connected = await diagnosis.connected_services(deployment.database)
    missing = [name for name in MISSING if name not in connected]
    found = [warning(f"no {name} is connected to Postgres", MISSING[name]) for name in missing]
    present = [name for name in MISSING if name in connected]
    return ([ok(f"connected to Postgres: {', '.join(present)}")] if present else []) + found


async def api(deployment: Deployment) -> list[Finding]:
    if not deployment.api_url:
        return [skipped("the API's address is not known", "give --url or set WAGGLE_URL to check it")]
    advice = f"start `waggle api`, or correct the address ({deployment.api_address}); the API's log says what it waits for"
    try:
        verify = trusted(httpx2.URL(deployment.api_url).scheme)
        async with httpx2.AsyncClient(base_url=deployment.api_url, timeout=API_SECONDS, trust_env=False, verify=verify) as client:
            answer = await client.get("/health")
            report = answer.json()
            status, of = str(report["status"]), str(report["version"])
    except (httpx2.RequestError, Unreachable) as problem:
        return [error(f"{deployment.api_address} does not answer: {reason(problem)}", advice)]
    except (ValueError, KeyError, TypeError):
        return [error(f"{deployment.api_address} answers, but not as a Waggle API (status {answer.status_code})", "correct --url or WAGGLE_URL")]
    match status:
        case "ok":
            return [ok(f"{deployment.api_address} is ready (version {of})")]
        case "degraded":
            return [
                warning(
                    f"{deployment.api_address} accepts tasks but cannot reach NATS: they wait",
                    "see the check of NATS above; from the API's machine the result may differ",
                )
            ]
        case _:
            return [error(f"{deployment.api_address} is {status}: it accepts no tasks", advice)]
