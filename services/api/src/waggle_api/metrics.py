"""What the API counts. Labels are bounded: registered types, known queues, route templates, statuses; children are resolved once."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

OTHER: Final = "other"

_SUBMITTED = Counter("waggle_tasks_submitted", "Tasks accepted and committed", ["type", "queue"])
_REQUESTS = Counter("waggle_http_requests", "Requests answered", ["method", "route", "status"])
_SECONDS = Histogram(
    "waggle_http_request_duration_seconds",
    "From a request's head to the end of its answer",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
WAITING = Gauge("waggle_http_waiting", "Requests that wait for their task to come to rest")
COMMIT_BATCH = Histogram("waggle_commit_batch_size", "Tasks committed together", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000))


@cache
def submitted(task_type: str, queue: str) -> Counter:
    return _SUBMITTED.labels(task_type, queue)


@cache
def requests(method: str, route: str, status: int) -> Counter:
    return _REQUESTS.labels(method, route, str(status))


@cache
def seconds(route: str) -> Histogram:
    return _SECONDS.labels(route)
