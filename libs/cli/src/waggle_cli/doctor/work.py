"""The tasks: is anything late that somebody should have moved on, or waiting for nobody."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Final

from waggle.bus import lane_head
from waggle.bus.connection import OUTAGE, Bus
from waggle.store import catalogue, diagnosis, leases, waiting
from waggle_cli.doctor.findings import Finding, count, error, ok, warning
from waggle_cli.doctor.patient import Patient

LATE: Final = 30.0  # seconds after which a scheduler that lives has done what it has to do
NO_SCHEDULER: Final = "start a scheduler, or look into its log: it rings due tasks, takes lost ones back and fails overdue ones"
SHOWN: Final = 6


async def due(patient: Patient) -> list[Finding]:
    """Due tasks that have no doorbell, because nobody rang, or because it was lost and nobody repaired that."""
    assert patient.database
    found = []
    late = await diagnosis.unrung(patient.database, LATE)
    if late.tasks:
        what = f"{count(late.tasks, 'task', diagnosis.MOST)} due for up to {late.seconds:,.0f} s that nobody rang"
        found.append(error(what, NO_SCHEDULER))
    if patient.bus and (orphaned := await _orphaned(patient, patient.bus)):
        lanes = ", ".join(f"{queue} {priority}" for queue, priority in orphaned[:SHOWN])
        found.append(error(f"tasks whose doorbell was lost wait in {count(len(orphaned), 'lane')} ({lanes})", NO_SCHEDULER))
    return found or [ok("every task that is due has been rung")]


async def _orphaned(patient: Patient, bus: Bus) -> list[tuple[str, int]]:
    """Lanes with tasks that the orphan rule would ring again, and would have long ago. A stream that does not answer clearly says nothing."""
    assert patient.database
    found = []
    for lane in await waiting.lanes(patient.database):
        asked = await waiting.now(patient.database)
        try:
            head = await lane_head.oldest_rung_at(bus, *lane)
        except OUTAGE:
            continue
        if await waiting.has_orphans(patient.database, lane, _earliest(head, asked) - timedelta(seconds=LATE)):
            found.append(lane)
    return found


def _earliest(head: datetime | None, asked: datetime) -> datetime:
    return asked if head is None else min(head, asked)


async def deadlines(patient: Patient) -> list[Finding]:
    assert patient.database
    if late := await diagnosis.overdue(patient.database, LATE):
        return [error(f"{count(late, 'task', diagnosis.MOST)} past their deadline that nobody failed", NO_SCHEDULER)]
    return [ok("no task is past its deadline")]


async def lost(patient: Patient) -> list[Finding]:
    assert patient.database
    if forsaken := await diagnosis.forsaken(patient.database, LATE):
        return [error(f"{count(forsaken, 'task', diagnosis.MOST)} running under workers that are gone", NO_SCHEDULER)]
    return [ok("every running task has a live worker")]


async def queues(patient: Patient) -> list[Finding]:
    """Queues that wait for nobody: paused ones, and those that no live worker serves."""
    assert patient.database
    paused = {name for name, is_paused in (await catalogue.queues(patient.database)).items() if is_paused}
    served = {queue for worker in await leases.workers(patient.database) if worker["alive"] and not worker["draining"] for queue in worker["queues"]}
    waits: Counter[str] = Counter()
    for row in await catalogue.depths(patient.database):
        waits[row["queue"]] += row["ready"] + row["later"]
    found = []
    for queue, tasks in sorted(waits.items()):
        if queue in paused:
            found.append(warning(f"the queue {queue} is paused, and {count(tasks, 'task')} {_wait(tasks)} in it", f"waggle queues resume {queue}"))
        elif queue not in served:
            advice = f"start a worker with WAGGLE_QUEUES={queue}, or one whose handlers name the queue"
            found.append(error(f"{count(tasks, 'task')} {_wait(tasks)} in the queue {queue}, which no live worker serves", advice))
    return found or [ok(f"{count(waits.total(), 'task')} {_wait(waits.total())}, in queues that are served" if waits else "no task waits")]


def _wait(tasks: int) -> str:
    return "waits" if tasks == 1 else "wait"


async def types(patient: Patient) -> list[Finding]:
    """Types that no worker of their queue has a handler for; a queue without any worker is told elsewhere."""
    assert patient.database
    served = {queue for worker in await leases.workers(patient.database) if worker["alive"] for queue in worker["queues"]}
    unserved: dict[str, int] = defaultdict(int)
    for row in await diagnosis.unserved_types(patient.database):
        if row["queue"] in served:
            unserved[f"{row['type']} (queue {row['queue']})"] += row["tasks"]
    if not unserved:
        return [ok("every type that waits has a handler")]
    names = ", ".join(list(unserved)[:SHOWN]) + (", …" if len(unserved) > SHOWN else "")
    advice = "start workers whose WAGGLE_APP has handlers for them; such tasks wait and cost no try"
    return [error(f"{count(sum(unserved.values()), 'task')} of types that no live worker has a handler for: {names}", advice)]
