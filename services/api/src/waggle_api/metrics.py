"""The metrics of the API. Labels are bounded: registered types, known queues, route templates, statuses. Children are resolved once per label."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Histogram

from waggle.telemetry import catalogue

_SUBMITTED: Final = catalogue.TASKS_SUBMITTED.create()
_REQUESTS: Final = catalogue.HTTP_REQUESTS.create()
_SECONDS: Final = catalogue.HTTP_REQUEST_SECONDS.create()
CONNECTIONS: Final = catalogue.HTTP_CONNECTIONS.create()
_REFUSED: Final = catalogue.HTTP_CONNECTIONS_REFUSED.create()
LISTENING: Final = catalogue.HTTP_LISTENING.create()
WAITING: Final = catalogue.HTTP_WAITING.create()
_RATE_LIMITED: Final = catalogue.RATE_LIMITED.create()
AUTH_FAILURES: Final = catalogue.AUTH_FAILURES.create()
COMMIT_BATCH: Final = catalogue.COMMIT_BATCH_SIZE.create()
_INGESTED: Final = catalogue.INGESTED.create()
INGESTED: Final = _INGESTED.labels("accepted")
INGESTED_LATER: Final = _INGESTED.labels("later")
_REJECTED: Final = catalogue.REJECTED.create()


@cache
def submitted(task_type: str, queue: str) -> Counter:
    return _SUBMITTED.labels(task_type, queue)


@cache
def requests(method: str, route: str, status: int) -> Counter:
    return _REQUESTS.labels(method, route, str(status))


@cache
def refused(limit: str) -> Counter:
    """Connections refused by the limit `address` or `all`."""
    return _REFUSED.labels(limit)


@cache
def rejected(code: str) -> Counter:
    return _REJECTED.labels(code)


@cache
def rate_limited(policy: str) -> Counter:
    return _RATE_LIMITED.labels(policy)


@cache
def seconds(route: str, status: int) -> Histogram:
    return _SECONDS.labels(route, str(status))
