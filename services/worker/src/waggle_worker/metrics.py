"""The metrics of a worker. Children are resolved once per label, because a lookup costs more than counting."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from waggle.task import AttemptOutcome
from waggle.telemetry import catalogue

ATTEMPTS: Final = catalogue.ATTEMPTS.create()
DURATION: Final = catalogue.TASK_SECONDS.create()
DROPPED: Final = catalogue.OUTCOMES_DROPPED.create()
UNCLAIMED: Final = catalogue.DOORBELLS_UNCLAIMED.create()
UNCHARGED: Final = catalogue.LOSSES_UNDONE.create()
SUSPECTS_PUT_OFF: Final = catalogue.SUSPECTS_PUT_OFF.create()
GIVEN_BACK: Final = catalogue.DOORBELLS_GIVEN_BACK.create()
RUNNING: Final = catalogue.WORKER_RUNNING.create()
CLEANUPS: Final = catalogue.CLEANUPS.create()
LEASES: Final = catalogue.LEASES_LOST.create()
TRIPS: Final = catalogue.BREAKER_TRIPS.create()
OPEN: Final = catalogue.BREAKERS_OPEN.create()
BREAKERS_REFUSED: Final = catalogue.BREAKERS_REFUSED.create()

BREAKER_LABEL_LIMIT = 100


@cache
def attempts(task_type: str, ended: AttemptOutcome) -> Counter:
    return ATTEMPTS.labels(task_type, ended)


@cache
def duration(task_type: str) -> Histogram:
    return DURATION.labels(task_type)


_named: set[str] = set()


def _breaker_label(name: str) -> str:
    """Host names come from payloads, so all hosts share one label; so do the names after the first hundred."""
    if name.startswith("http:"):
        return "http"
    if len(_named) < BREAKER_LABEL_LIMIT:
        _named.add(name)
    return name if name in _named else catalogue.OTHER


def breaker_trips(name: str) -> Counter:
    return TRIPS.labels(_breaker_label(name))


def breaker_open(name: str) -> Gauge:
    return OPEN.labels(_breaker_label(name))


def breaker_refused(name: str) -> Counter:
    return BREAKERS_REFUSED.labels(_breaker_label(name))
