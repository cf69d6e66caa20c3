"""The tasks: whether any is late, lost, or waiting without a worker that could run it."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Final

from waggle.bus import lane_head, subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.store import catalogue, diagnosis, leases, waiting
from waggle.task import QUEUE_LENGTH
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, count, error, listed, ok, warning

LATE: Final = 30.0  # seconds within which a running scheduler has acted
NO_SCHEDULER: Final = "start a scheduler, or read its log: it rings due tasks, takes lost ones back, and fails overdue ones"
NOT_VALID: Final = f"move them by SQL to a queue of at most {QUEUE_LENGTH} lower-case letters, digits, _ and -, starting with a letter; no worker serves others"


async def due(deployment: Deployment) -> list[Finding]:
    """Due tasks without a doorbell: never rung, or the doorbell was lost."""
    assert deployment.database
    found = []
    late = await diagnosis.unrung(deployment.database, LATE)
    if late.tasks:
        what = f"{count(late.tasks, 'task', diagnosis.MOST)} due for up to {late.seconds:,.0f} s but not rung"
        found.append(error(what, NO_SCHEDULER))
    if deployment.bus and (orphaned := await _orphaned(deployment, deployment.bus)):
        lanes = listed([f"{queue} {priority}" for queue, priority in orphaned])
        found.append(error(f"tasks without a doorbell wait in {count(len(orphaned), 'lane')} ({lanes})", NO_SCHEDULER))
    return found or [ok("every due task has been rung")]


async def _orphaned(deployment: Deployment, bus: Bus) -> list[tuple[str, int]]:
    """Lanes with tasks that the orphan rule should have rung again long ago. Lanes are skipped if the stream does not answer."""
    assert deployment.database
    found = []
    for lane in [lane for lane in await waiting.lanes(deployment.database) if subjects.fits(lane[0])]:
        asked = await waiting.now(deployment.database)
        try:
            head = await lane_head.oldest_rung_at(bus, *lane)
        except NATS_OUTAGE:
            continue
        if await waiting.has_orphans(deployment.database, lane, _earliest(head, asked) - timedelta(seconds=LATE)):
            found.append(lane)
    return found


def _earliest(head: datetime | None, asked: datetime) -> datetime:
    return asked if head is None else min(head, asked)


async def deadlines(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    if late := await diagnosis.overdue(deployment.database, LATE):
        return [error(f"{count(late, 'task', diagnosis.MOST)} past their deadline but not failed", NO_SCHEDULER)]
    return [ok("no task is past its deadline")]


async def lost(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    if lost := await diagnosis.without_worker(deployment.database, LATE):
        return [error(f"{count(lost, 'task', diagnosis.MOST)} running under workers that are gone", NO_SCHEDULER)]
    return [ok("every running task has a live worker")]


async def queues(deployment: Deployment) -> list[Finding]:
    """Queues whose tasks cannot run: paused ones, and those without a live worker."""
    assert deployment.database
    paused = {name for name, is_paused in (await catalogue.queues(deployment.database)).items() if is_paused}
    served = {queue for worker in await leases.workers(deployment.database) if worker["alive"] and not worker["draining"] for queue in worker["queues"]}
    waits: Counter[str] = Counter()
    for row in await catalogue.depths(deployment.database):
        waits[row["queue"]] += row["ready"] + row["later"]
    found = []
    for queue, tasks in sorted(waits.items()):
        if not subjects.fits(queue):
            found.append(error(f"{count(tasks, 'task')} {_wait(tasks)} in queue {queue!r}, whose name is not valid", NOT_VALID))
        elif queue in paused:
            found.append(warning(f"queue {queue} is paused; {count(tasks, 'task')} {_wait(tasks)} in it", f"waggle queues resume {queue}"))
        elif queue not in served:
            advice = f"start a worker with WAGGLE_QUEUES={queue}, or one with handlers in this queue"
            found.append(error(f"{count(tasks, 'task')} {_wait(tasks)} in queue {queue}, but no live worker serves it", advice))
    return found or [ok(f"{count(waits.total(), 'task')} {_wait(waits.total())}, in queues with a live worker" if waits else "no task waits")]


def _wait(tasks: int) -> str:
    return "waits" if tasks == 1 else "wait"


async def types(deployment: Deployment) -> list[Finding]:
    """Types without a handler in the workers of their queue. Queues without a worker are reported by `queues`."""
    assert deployment.database
    served = {queue for worker in await leases.workers(deployment.database) if worker["alive"] for queue in worker["queues"]}
    unserved: dict[str, int] = defaultdict(int)
    for row in await diagnosis.unserved_types(deployment.database):
        if row["queue"] in served:
            unserved[f"{row['type']} (queue {row['queue']})"] += row["tasks"]
    if not unserved:
        return [ok("every waiting task has a handler")]
    advice = "start workers whose WAGGLE_APP has these handlers; until then the tasks wait and lose no try"
    return [error(f"{count(sum(unserved.values()), 'task')} of types without a handler in any live worker: {listed(list(unserved))}", advice)]


async def versions(deployment: Deployment) -> list[Finding]:
    """Types of which live workers serve several versions: a task may have to wait for a worker that can read it."""
    assert deployment.database
    served: dict[str, list[str]] = defaultdict(list)
    for version in await catalogue.versions(deployment.database):
        if version.workers:
            served[version.name].append(f"{version.version} on {count(version.workers, 'worker')}")
    advice = "finish the deployment, or give these workers the same code; until then tasks wait for a worker that can read them (docs/deploys.md)"
    found = [warning(f"{name} has {len(which)} live versions: {', '.join(which)}", advice) for name, which in served.items() if len(which) > 1]
    return found or [ok("each type has one live version")]
