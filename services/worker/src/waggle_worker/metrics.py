"""The metrics of a worker. Children are resolved once per label, because a lookup costs more than counting.

What happens for each task is only noted; `flush` counts it, a few times a second.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge

from waggle.task import AttemptOutcome, Claimed, Priority
from waggle.telemetry import catalogue
from waggle.telemetry.histograms import BatchHistogram

ATTEMPTS: Final = catalogue.ATTEMPTS.create()
DURATION: Final = catalogue.TASK_SECONDS.create()
WAIT: Final = catalogue.QUEUE_WAIT.create()
DROPPED: Final = catalogue.OUTCOMES_DROPPED.create()
UNCLAIMED: Final = catalogue.DOORBELLS_UNCLAIMED.create()
UNCHARGED: Final = catalogue.LOSSES_UNDONE.create()
SUSPECTS_PUT_OFF: Final = catalogue.SUSPECTS_PUT_OFF.create()
GIVEN_BACK: Final = catalogue.DOORBELLS_GIVEN_BACK.create()
RUNNING: Final = catalogue.WORKER_RUNNING.create()
SLOTS: Final = catalogue.SLOTS.create()
SLOTS_LOST: Final = catalogue.SLOTS_LOST.create()
CLEANUPS: Final = catalogue.CLEANUPS.create()
LEASES: Final = catalogue.LEASES_LOST.create()
TRIPS: Final = catalogue.BREAKER_TRIPS.create()
OPEN: Final = catalogue.BREAKERS_OPEN.create()
BREAKERS_REFUSED: Final = catalogue.BREAKERS_REFUSED.create()
SERIALISATION: Final = catalogue.SERIALISATION.create()
PROCESSES_REPLACED: Final = catalogue.PROCESSES_REPLACED.create()
MISFITS_LEFT: Final = catalogue.MISFITS_LEFT.create()
RATE: Final = catalogue.PROCESSING_RATE.create()
ERROR_RATE: Final = catalogue.ERROR_RATE.create()

BREAKER_LABEL_LIMIT = 100
RATE_SECONDS: Final = 60.0
TRIES: Final = (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED)
LANES: Final = {priority.value: priority.name.lower() for priority in Priority}


class Noted:
    """What was noted since the last `flush`: seconds of handlers by type, and of payloads."""

    def __init__(self) -> None:
        self.durations: dict[str, list[float]] = {}
        self.exemplars: dict[str, tuple[float, str]] = {}  # of a type: the seconds and the trace of the last attempt that is traced
        self.payloads = 0.0

    def duration(self, task_type: str, seconds: float) -> None:
        known = self.durations.get(task_type)
        if known is None:
            self.durations[task_type] = [seconds]
        else:
            known.append(seconds)

    def exemplar(self, task_type: str, seconds: float, trace_id: str) -> None:
        """A duration with its trace; of those between two flushes the last one keeps it."""
        if before := self.exemplars.get(task_type):
            self.duration(task_type, before[0])
        self.exemplars[task_type] = seconds, trace_id

    def flush(self, results: float) -> None:
        """`results`: seconds spent on them."""
        durations, self.durations = self.durations, {}
        for task_type, seconds in durations.items():
            duration(task_type).observe_all(seconds)
        exemplars, self.exemplars = self.exemplars, {}
        for task_type, (one, trace_id) in exemplars.items():
            duration(task_type).observe(one, {"trace_id": trace_id})
        payloads, self.payloads = self.payloads, 0.0
        SERIALISATION.labels("payload").inc(payloads)
        SERIALISATION.labels("result").inc(results)


NOTED: Final = Noted()


class LastMinute:
    """How many tries ended in the last minute, and how many of them failed."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[float, int, int]] = deque()

    def count(self, ended: int, failed: int) -> None:
        now = time.monotonic()
        if self._seconds and now - self._seconds[-1][0] < 1:
            at, ended_then, failed_then = self._seconds.pop()
            self._seconds.append((at, ended_then + ended, failed_then + failed))
        else:
            self._forget(now)
            self._seconds.append((now, ended, failed))

    def ended(self) -> float:
        self._forget(time.monotonic())
        return sum([ended for _, ended, _ in self._seconds])

    def failed(self) -> float:
        self._forget(time.monotonic())
        return sum([failed for _, _, failed in self._seconds])

    def _forget(self, now: float) -> None:
        while self._seconds and now - self._seconds[0][0] >= RATE_SECONDS:
            self._seconds.popleft()


LAST_MINUTE: Final = LastMinute()
RATE.set_function(LAST_MINUTE.ended)
ERROR_RATE.set_function(LAST_MINUTE.failed)


def start(types: Iterable[str], queues: Iterable[str], slots: int, hooked: Iterable[str]) -> None:
    """Show each series of this worker from the start: Prometheus sees no increase in one that begins at 1."""
    SLOTS.set(slots)
    for task_type in types:
        duration(task_type)
        for outcome in (*TRIES, AttemptOutcome.SNOOZED, AttemptOutcome.GIVEN_BACK):
            attempts(task_type, outcome)
        MISFITS_LEFT.labels(task_type)
    for queue in queues:
        for priority in Priority:
            wait(queue, priority)
    for task_type in hooked:
        for ended in ("done", "failed", "given_up"):
            CLEANUPS.labels(task_type, ended)


def waited(claimed: Sequence[Claimed]) -> None:
    """Count how long these tasks were due before their claim."""
    lanes: dict[tuple[str, int], list[float]] = {}
    for task in claimed:
        lanes.setdefault((task.queue, task.priority), []).append(max(0.0, (task.started_at - task.run_at).total_seconds()))
    for (queue, priority), seconds in lanes.items():
        wait(queue, priority).observe_all(seconds)


@cache
def attempts(task_type: str, ended: AttemptOutcome) -> Counter:
    return ATTEMPTS.labels(task_type, ended)


@cache
def duration(task_type: str) -> BatchHistogram:
    return DURATION.labels(task_type)


@cache
def wait(queue: str, priority: int) -> BatchHistogram:
    return WAIT.labels(queue, LANES[priority])


_named: set[str] = set()


def _breaker_label(name: str) -> str:
    """Host names come from payloads, so all hosts share one label; so do the names after the first hundred."""
    if name.startswith("http:"):
        return "http"
    if len(_named) < BREAKER_LABEL_LIMIT:
        _named.add(name)
    return name if name in _named else catalogue.OTHER


def breaker(name: str) -> None:
    """Show the series of a breaker from its first use."""
    label = _breaker_label(name)
    TRIPS.labels(label)
    BREAKERS_REFUSED.labels(label)
    for state in ("open", "half_open"):
        OPEN.labels(label, state)


def breaker_trips(name: str) -> Counter:
    return TRIPS.labels(_breaker_label(name))


def breaker_open(name: str, state: str) -> Gauge:
    return OPEN.labels(_breaker_label(name), state)


def breaker_refused(name: str) -> Counter:
    return BREAKERS_REFUSED.labels(_breaker_label(name))
