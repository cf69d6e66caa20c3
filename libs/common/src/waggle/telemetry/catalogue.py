"""Every metric of Waggle is declared here and nowhere else; `docs/metrics.md` is made from it.

One rule names them: `waggle_<part>_<what>_<unit>`. The part is the thing that is measured (tasks, attempts, doorbells, http, dlq, …). Units are base units,
`seconds` and `bytes`; a number of things has none. A counter ends in `_total`. Where the label `outcome` says what happened, the name does not.
Names that the requirements of Waggle fix (`required=True`) are kept as they stand there.

A service creates the metrics that it uses, `RUNG: Final = catalogue.DOORBELLS_RUNG.create()`, so that its page shows no others.
What handlers import (`waggle.app`, `waggle.context`) must not import this module: it needs prometheus_client.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from prometheus_client import Counter, Gauge, Histogram

OTHER: Final = "other"
"""The label value that replaces names which are not registered, so that labels stay bounded."""

MetricType = TypeVar("MetricType", Counter, Gauge, Histogram)
Where = Literal["api", "worker", "dlq", "scheduler"]


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Generic[MetricType]):
    """A metric before it exists. `name` is the one on the page; `labels` are bounded: registered types, queues, outcomes, never ids or user text."""

    kind: type[MetricType]
    name: str
    meaning: str
    where: tuple[Where, ...]
    unit: Literal["", "seconds", "bytes"] = ""
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = ()
    required: bool = False

    def create(self) -> MetricType:
        """The metric itself, on the page of this process from now on. Raises ValueError when it exists already."""
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return self.kind(self.name, self.meaning, self.labels, **more)


# The bus: all services that ring or pull.
DOORBELLS_RUNG: Final = MetricSpec(
    kind=Counter, name="waggle_doorbells_rung_total", labels=("queue",), where=("api", "scheduler"), meaning="Doorbells published"
)
DOORBELLS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_refused_total",
    labels=("reason",),
    where=("api", "scheduler"),
    meaning="Batches of doorbells that the stream did not accept",
)
DOORBELLS_UNREADABLE: Final = MetricSpec(
    kind=Counter, name="waggle_doorbells_unreadable_total", where=("worker",), meaning="Messages in the work stream that are not doorbells"
)

# Postgres: all services.
STALE_PRIMARY: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_stale",
    where=("api", "worker", "dlq", "scheduler"),
    meaning="1 while the address of Postgres leads to a primary that was replaced: the service stays away from it",
)

CLOCK_JUMPS: Final = MetricSpec(
    kind=Counter,
    name="waggle_postgres_clock_jumps_total",
    labels=("direction",),
    where=("scheduler",),
    meaning="Jumps of the database's clock against this scheduler's monotonic one",
)

# The API.
TASKS_SUBMITTED: Final = MetricSpec(
    kind=Counter, name="waggle_tasks_submitted_total", labels=("type", "queue"), where=("api",), meaning="Tasks accepted and committed"
)
HTTP_REQUESTS: Final = MetricSpec(
    kind=Counter, name="waggle_http_requests_total", labels=("method", "route", "status"), where=("api",), meaning="Requests answered"
)
HTTP_REQUEST_SECONDS: Final = MetricSpec(
    kind=Histogram,
    name="waggle_http_request_duration_seconds",
    unit="seconds",
    labels=("route",),
    where=("api",),
    meaning="Time from the head of a request to the end of its response",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
HTTP_CONNECTIONS: Final = MetricSpec(kind=Gauge, name="waggle_http_connections", where=("api",), meaning="Open connections")
RATE_LIMITED: Final = MetricSpec(
    kind=Counter,
    name="rate_limit_exceeded_total",
    labels=("policy",),
    where=("api",),
    meaning="Requests refused because a client was over its quota",
    required=True,
)
AUTH_FAILURES: Final = MetricSpec(kind=Counter, name="auth_failures_total", where=("api",), meaning="Requests without a valid API key", required=True)
HTTP_CONNECTIONS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_http_connections_refused_total",
    labels=("limit",),
    where=("api",),
    meaning="Connections that were one too many: of one address, or in all",
)
HTTP_WAITING: Final = MetricSpec(kind=Gauge, name="waggle_http_waiting", where=("api",), meaning="Requests (`?wait=`) that wait for their task to finish")
COMMIT_BATCH_SIZE: Final = MetricSpec(
    kind=Histogram,
    name="waggle_commit_batch_size",
    where=("api",),
    meaning="Tasks committed together",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000),
)

# The worker.
ATTEMPTS: Final = MetricSpec(
    kind=Counter, name="waggle_attempts_total", labels=("type", "outcome"), where=("worker",), meaning="Attempts that ended on this worker"
)
TASK_SECONDS: Final = MetricSpec(
    kind=Histogram,
    name="task_processing_duration",
    required=True,
    unit="seconds",
    labels=("type",),
    where=("worker",),
    meaning="Time from the start of a handler to its end",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300),
)
OUTCOMES_DROPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_outcomes_dropped_total",
    labels=("reason",),
    where=("worker",),
    meaning="Outcomes discarded because the attempt no longer held its task",
)
NATS_NOT_STORING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_nats_not_storing",
    where=("api", "scheduler"),
    meaning="1 while NATS is connected but acknowledges no message: tasks are accepted and wait, see docs/operating.md",
)
DOORBELLS_UNCLAIMED: Final = MetricSpec(
    kind=Counter, name="waggle_doorbells_unclaimed_total", where=("worker",), meaning="Doorbells whose task was not claimable"
)
DOORBELLS_GIVEN_BACK: Final = MetricSpec(
    kind=Counter, name="waggle_doorbells_given_back_total", where=("worker",), meaning="Doorbells returned because no slot became free in time"
)
LOSSES_UNDONE: Final = MetricSpec(
    kind=Counter,
    name="waggle_losses_undone_total",
    where=("worker",),
    meaning="Tries that were charged because this worker was cut off from Postgres, and not charged after all when it was back",
)
SUSPECTS_PUT_OFF: Final = MetricSpec(
    kind=Counter,
    name="waggle_suspects_put_off_total",
    where=("worker",),
    meaning="Times that a task that was lost before had to wait its turn, unclaimed",
)
WORKER_RUNNING: Final = MetricSpec(kind=Gauge, name="waggle_worker_running", where=("worker",), meaning="Handlers running now")
LEASES_LOST: Final = MetricSpec(kind=Counter, name="waggle_leases_lost_total", where=("worker",), meaning="Leases of this worker that expired")
CLEANUPS: Final = MetricSpec(
    kind=Counter,
    name="waggle_cleanups_total",
    labels=("type", "outcome"),
    where=("worker",),
    meaning="Calls of cleanup hooks: `done`, `failed` (called again later), `given_up`",
)
BREAKER_TRIPS: Final = MetricSpec(
    kind=Counter,
    name="circuit_breaker_trips_total",
    required=True,
    labels=("breaker",),
    where=("worker",),
    meaning="Times that failures of this worker's calls opened a circuit breaker",
)
BREAKERS_OPEN: Final = MetricSpec(
    kind=Gauge, name="waggle_breakers_open", labels=("breaker",), where=("worker",), meaning="Circuit breakers that are not closed, as this worker knows them"
)
BREAKERS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_breakers_refused_total",
    labels=("breaker",),
    where=("worker",),
    meaning="Calls not made because a circuit breaker was open",
)

# The dlq service.
DLQ_SIZE: Final = MetricSpec(kind=Gauge, name="dlq_size", required=True, where=("dlq",), meaning="Dead letters, read every 10 s")
DLQ_CLEANED: Final = MetricSpec(
    kind=Counter,
    name="dlq_tasks_cleaned_total",
    required=True,
    labels=("reason",),
    where=("dlq",),
    meaning="Dead letters that a DLQ cleanup made `failed`: `old`, or `excess` over the maximum size",
)
DLQ_REMAINING: Final = MetricSpec(kind=Gauge, name="dlq_tasks_remaining", required=True, where=("dlq",), meaning="Dead letters left after the last DLQ cleanup")
DLQ_CLEANUP_SECONDS: Final = MetricSpec(
    kind=Histogram, name="dlq_cleanup_duration", required=True, unit="seconds", where=("dlq",), meaning="Duration of a DLQ cleanup"
)
DLQ_CLEANUP_SUCCESS: Final = MetricSpec(kind=Counter, name="dlq_cleanup_success_total", required=True, where=("dlq",), meaning="DLQ cleanups that succeeded")
DLQ_CLEANUP_FAILURE: Final = MetricSpec(
    kind=Counter, name="dlq_cleanup_failure_total", required=True, where=("dlq",), meaning="DLQ cleanups that an outage interrupted"
)
DLQ_RETRIED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_retried_total",
    labels=("how",),
    where=("dlq",),
    meaning="Dead letters that became pending again: `manual`, `automatic`, `redrive`",
)
DLQ_REMOVED: Final = MetricSpec(kind=Counter, name="waggle_dlq_removed_total", where=("dlq",), meaning="Dead letters that an operator made `failed`")
DLQ_SKIPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_skipped_total",
    labels=("reason",),
    where=("dlq",),
    meaning="Dead letters that a redrive skipped: `deadline` passed, `unique_key` taken",
)
DLQ_REDRIVES_ENDED: Final = MetricSpec(
    kind=Counter, name="waggle_dlq_redrives_ended_total", labels=("state",), where=("dlq",), meaning="Redrives that ended: `completed`, `stopped`, `cancelled`"
)
DLQ_COMMANDS_REFUSED: Final = MetricSpec(
    kind=Counter, name="waggle_dlq_commands_refused_total", labels=("reason",), where=("dlq",), meaning="Commands that the dlq service did not carry out"
)

# The scheduler.
TASKS_OVERDUE: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_overdue_total",
    labels=("was",),
    where=("scheduler",),
    meaning="Tasks that failed at their deadline, by their status before",
)
TASKS_RETIRED: Final = MetricSpec(kind=Counter, name="waggle_tasks_retired_total", where=("scheduler",), meaning="Finished tasks deleted after their retention")
TASKS_TAKEN_BACK: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_taken_back_total",
    labels=("next",),
    where=("scheduler",),
    meaning="Tasks taken back from workers without a live lease, by their next status",
)
ORPHANS_RUNG: Final = MetricSpec(
    kind=Counter, name="waggle_orphans_rung_total", labels=("queue",), where=("scheduler",), meaning="Tasks rung again because their doorbell was lost"
)


def declared() -> list[MetricSpec[Any]]:
    """All metrics, in the order above."""
    return [value for value in globals().values() if isinstance(value, MetricSpec)]
