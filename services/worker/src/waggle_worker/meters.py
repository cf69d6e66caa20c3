"""What the worker counts. Children are resolved once for each label, because a lookup costs more than the count."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from waggle.task import Ended

ATTEMPTS = Counter("waggle_attempts", "Attempts that ended on this worker", ["type", "outcome"])
DURATION = Histogram(
    "task_processing_duration",
    "Seconds from the start of a handler to its end",
    ["type"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300),
)
DROPPED = Counter("waggle_outcomes_dropped", "Outcomes whose attempt no longer held its task", ["reason"])
UNCLAIMED = Counter("waggle_doorbells_unclaimed", "Doorbells whose task was not claimable")
GIVEN_BACK = Counter("waggle_doorbells_given_back", "Doorbells held without a free slot and given back")
RUNNING = Gauge("waggle_worker_running", "Handlers that run now")
LEASES = Counter("waggle_leases_lost", "Leases of this worker that expired")

OTHER = "other"  # instead of a type that nobody announced: labels stay few


@cache
def attempts(task_type: str, ended: Ended) -> Counter:
    return ATTEMPTS.labels(task_type, ended)


@cache
def duration(task_type: str) -> Histogram:
    return DURATION.labels(task_type)
