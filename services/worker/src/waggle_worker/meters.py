"""What the worker counts. Children are resolved once for each label, because a lookup costs more than the count."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from waggle.task import AttemptOutcome

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
CLEANUPS = Counter("waggle_cleanups", "Calls of cleanup hooks", ["type", "outcome"])
LEASES = Counter("waggle_leases_lost", "Leases of this worker that expired")
TRIPS = Counter("circuit_breaker_trips", "Times that a circuit breaker opened because this worker's calls failed", ["breaker"])
OPEN = Gauge("circuit_breaker_open", "Circuit breakers that are not closed, as this worker knows it", ["breaker"])
SENT_AWAY = Counter("circuit_breaker_refused", "Calls that were not made because a circuit breaker was open", ["breaker"])

MOST_BREAKERS = 100
OTHER = "other"  # instead of a type that nobody announced: labels stay few


@cache
def attempts(task_type: str, ended: AttemptOutcome) -> Counter:
    return ATTEMPTS.labels(task_type, ended)


@cache
def duration(task_type: str) -> Histogram:
    return DURATION.labels(task_type)


_named: set[str] = set()


def _breaker_label(name: str) -> str:
    """Hosts come from payloads and are one label together; so are the names beyond the first hundred."""
    if name.startswith("http:"):
        return "http"
    if len(_named) < MOST_BREAKERS:
        _named.add(name)
    return name if name in _named else OTHER


def breaker_trips(name: str) -> Counter:
    return TRIPS.labels(_breaker_label(name))


def breaker_open(name: str) -> Gauge:
    return OPEN.labels(_breaker_label(name))


def breaker_refused(name: str) -> Counter:
    return SENT_AWAY.labels(_breaker_label(name))
