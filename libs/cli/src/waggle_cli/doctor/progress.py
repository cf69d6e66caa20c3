"""Whether work gets done: tasks that wait although workers live, tasks that die, calls that breakers refuse."""

import asyncio
from typing import Final, NamedTuple

import asyncpg

from waggle.bus import breakers as bucket
from waggle.bus.breakers import Entry, State
from waggle.redrive import DeadLetterFilter
from waggle.store import alerts, dead_letters, diagnosis
from waggle.store.client import TimeLimitedConnection
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, count, error, listed, ok, warning

LONG_SECONDS: Final = 60.0  # that a task is ready, and that a worker starts nothing
AGAIN_SECONDS: Final = 2.0  # between two looks: a worker has no task at all for a moment
DEAD_SECONDS: Final = 600.0
DEAD_MANY: Final = 100  # as for the alert, in a third of its time
STUCK: Final = "restart these workers: a thread cannot be stopped and keeps its slot. Then bound what its handler waits for, or make it process=True"
STILL: Final = "read the logs of the workers, and restart them"
BUSY: Final = "start more workers, or raise WAGGLE_CONCURRENCY, if the tasks have to start sooner"


class WaitingTasks(NamedTuple):
    """Ready tasks of a queue and type, and the live workers that could run them."""

    row: asyncpg.Record
    workers: list[asyncpg.Record]

    @property
    def key(self) -> tuple[str, str]:
        return self.row["queue"], self.row["type"]

    @property
    def goes_on(self) -> bool:
        """Whether one of the workers has started something lately."""
        return any(worker["seconds"] is not None and worker["seconds"] < LONG_SECONDS for worker in self.workers)


async def waiting(deployment: Deployment) -> list[Finding]:
    """Tasks that have long been ready, although live workers have their handlers. (`queues` and `types` report those without.)"""
    assert deployment.database
    late = await _late(deployment.database)
    if still := {found.key for found in late if not found.goes_on}:
        await asyncio.sleep(AGAIN_SECONDS)
        late = await _late(deployment.database)
        still &= {found.key for found in late if not found.goes_on}
    found = _why([each for each in late if each.key in still])
    if slow := [each for each in late if each.key not in still]:
        found.append(warning(f"{_what(slow)}: their workers are busy", BUSY))
    return found or [ok("no ready task has waited for a minute")]


async def _late(database: TimeLimitedConnection) -> list[WaitingTasks]:
    workers = await diagnosis.busy(database)
    found = []
    for row in await diagnosis.ready(database):
        serving = [worker for worker in workers if row["queue"] in worker["queues"] and row["type"] in worker["types"]]
        if serving and row["seconds"] >= LONG_SECONDS:
            found.append(WaitingTasks(row, serving))
    return found


def _why(still: list[WaitingTasks]) -> list[Finding]:
    """Why the workers of these tasks start nothing."""
    if not still:
        return []
    workers = {worker["id"]: worker for each in still for worker in each.workers}.values()
    if all(worker["tasks"] >= worker["concurrency"] for worker in workers):
        return [warning(f"{_what(still)}: all slots of their workers hold tasks that run for long", BUSY)]
    held = [worker for worker in workers if worker["taken"] >= worker["concurrency"] > worker["tasks"]]
    if held:
        slots = sum(worker["taken"] - worker["tasks"] for worker in held)
        names = listed([worker["id"] for worker in held])
        return [error(f"{_what(still)}: {count(slots, 'slot')} of {names} {'is' if slots == 1 else 'are'} held by runs whose tasks have ended", STUCK)]
    return [error(f"{_what(still)}: their workers have free slots and start nothing ({listed([worker['id'] for worker in workers])})", STILL)]


def _what(late: list[WaitingTasks]) -> str:
    tasks, seconds = sum(each.row["tasks"] for each in late), max(each.row["seconds"] for each in late)
    names = listed([f"{each.row['type']} in {each.row['queue']}" for each in late])
    return f"{count(tasks, 'task')} ready for up to {seconds:,.0f} s ({names})"


async def deaths(deployment: Deployment) -> list[Finding]:
    """Whether many tasks have become dead letters of late, and what most of them died of."""
    assert deployment.database
    dead = await alerts.recent_dead(deployment.database, DEAD_SECONDS, diagnosis.MOST)
    minutes = f"the last {DEAD_SECONDS / 60:.0f} minutes"
    if dead < DEAD_MANY:
        return [ok(f"{count(dead, 'dead letter')} in {minutes}")]
    groups = await dead_letters.groups(deployment.database, DeadLetterFilter(newer_than=DEAD_SECONDS), 1)
    most = f", {groups[0].count:,} of them {groups[0].type} ({groups[0].code})" if groups else ""
    advice = "waggle dlq groups --newer-than 10m; correct the cause, then waggle dlq retry --fingerprint FINGERPRINT"
    return [error(f"{count(dead, 'task', diagnosis.MOST)} became dead letters in {minutes}{most}", advice)]


async def breakers(deployment: Deployment) -> list[Finding]:
    """Circuit breakers that are not closed. (Whether their bucket can be read, `broker.breakers` reports.)"""
    assert deployment.bus
    found = [entry async for entry in bucket.entries(deployment.bus)]
    return [_open(entry) for entry in found if entry.record.state is not State.CLOSED] or [ok("no circuit breaker is open")]


def _open(entry: Entry) -> Finding:
    name, times = entry.record.name, count(entry.record.failures, "failure")
    what = f"the circuit breaker {name} is {entry.record.state.replace('_', '-')} after {times} in a row: tasks wait for it and use up no try"
    return error(what, f"waggle breakers show {name} says what failed; correct the called service, and the breaker closes by itself")
