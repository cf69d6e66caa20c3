"""Every metric of Waggle is declared here and nowhere else; `docs/metrics.md` is made from it.

One rule names them: `waggle_<part>_<what>_<unit>`. The part is the thing that is measured (tasks, attempts, doorbells, http, dlq, …). Units are base units,
`seconds` and `bytes`; a number of things has none. A counter ends in `_total`. Where the label `outcome` says what happened, the name does not.
Names that the requirements of Waggle fix (`required=True`) are kept as they stand there.

A service creates the metrics that it uses, `RUNG: Final = catalogue.DOORBELLS_RUNG.create()`, so that its page shows no others.
What handlers import (`waggle.app`, `waggle.context`) must not import this module: it needs prometheus_client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from waggle.telemetry.histograms import BatchHistogram

OTHER: Final = "other"
"""The label value that replaces names which are not registered, so that labels stay bounded."""

MetricType = TypeVar("MetricType", Counter, Gauge, Histogram, BatchHistogram)
Where = Literal["api", "worker", "dlq", "scheduler"]
EVERY: Final[tuple[Where, ...]] = ("api", "worker", "dlq", "scheduler")


@dataclass(frozen=True)
class Convention:
    """The name that OpenTelemetry has for a metric (semantic conventions 1.45), by which OTLP carries it too: its attributes, some of them from labels.

    `only`: the values of a label that it counts, each with its `messaging.operation.name`. A number of things is counted by `count` of a histogram.
    """

    name: str
    unit: str
    labels: Mapping[str, str]
    attributes: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, Mapping[str, str]] | None = None
    count: bool = False


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Generic[MetricType]):
    """A metric before it exists. `name` is the one on the page; `labels` are bounded: registered types, queues, outcomes, never ids or user text.

    `advice` says what to do when it is bad.
    """

    kind: type[MetricType]
    name: str
    meaning: str
    advice: str
    where: tuple[Where, ...]
    unit: Literal["", "seconds", "bytes", "milliseconds", "percent", "per minute"] = ""
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = ()
    required: bool = False
    values: Sequence[str] = ()
    convention: Convention | None = None

    @property
    def type(self) -> str:
        """The type that its page says: counter, gauge or histogram."""
        return "histogram" if issubclass(self.kind, Histogram) else self.kind.__name__.lower()

    def create(self) -> MetricType:
        """The metric itself, on the page of this process from now on. Raises ValueError when it exists already.

        Of a metric with one label whose `values` are known, each series is there from the start: Prometheus sees no increase in one that begins at 1.
        """
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        made = self.kind(self.name, self.meaning, self.labels, **more)
        for value in self.values:
            made.labels(value)
        return made


WAGGLE: Final = {"messaging.system": "waggle"}
STATEMENT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
WAIT_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600)

# The process: all services.
CPU: Final = MetricSpec(
    kind=Gauge,
    name="system_cpu_usage",
    required=True,
    unit="percent",
    where=EVERY,
    meaning="CPU time of this process in the last seconds; 100 is one core",
    advice="A service near 100 is the bottleneck: start another process of it (`--processes` of a worker)",
)
MEMORY: Final = MetricSpec(
    kind=Gauge,
    name="system_memory_usage",
    required=True,
    unit="bytes",
    where=EVERY,
    meaning="Memory of this process that is in RAM",
    advice="Grows without end: restart the service, and report it. A worker holds the payloads and results of its handlers",
)
LOOP_LAG: Final = MetricSpec(
    kind=Gauge,
    name="system_event_loop_lag",
    required=True,
    unit="milliseconds",
    where=EVERY,
    meaning="How late the event loop came to a timer, at most, in the last 15 to 30 seconds",
    advice="Over 100 in a worker: a handler blocks the loop. Make it a plain function (a thread), or process=True. As long as a lease: its tasks are lost",
)
LOOP_FAILURES: Final = MetricSpec(
    kind=Counter,
    name="waggle_loop_failures_total",
    labels=("loop",),
    where=EVERY,
    meaning="Turns of a service's background loop that an outage ended; it tries again",
    advice="The log line `outage, waiting` says why. All loops: Postgres or NATS is away",
)
SPANS_DROPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_spans_dropped_total",
    where=EVERY,
    meaning="Spans that did not reach the collector of WAGGLE_OTLP_ENDPOINT",
    advice="More spans than it takes: lower WAGGLE_TRACE_RATIO. All of them: the collector is away, see the log line `traces are not sent`",
)
LOG_LINES_DROPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_log_lines_dropped_total",
    where=EVERY,
    meaning="Log lines that were not written: nobody reads the output, its disk is full, or it is slower than the log",
    advice="Look at what takes the output of the service. The line `log lines dropped` says how many are missing once it works again",
)
STATEMENT_SECONDS: Final = MetricSpec(
    kind=Histogram,
    name="waggle_statement_duration_seconds",
    unit="seconds",
    labels=("statement",),
    where=EVERY,
    meaning="Time of a statement, from the wait for a connection to the answer of Postgres; tasks/claim and tasks/settle move tasks on",
    advice="All slow: Postgres is short of disk or CPU, or has an old transaction; one slow: `waggle doctor`, and EXPLAIN it",
    buckets=STATEMENT_BUCKETS,
    convention=Convention(
        "messaging.client.operation.duration",
        "s",
        {},
        WAGGLE,
        ("statement", {"tasks/insert": "send", "tasks/insert_one": "send", "tasks/claim": "receive", "tasks/settle": "settle"}),
    ),
)
POSTGRES_CONNECTED: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_connected",
    where=EVERY,
    meaning="1 while Postgres answers this service, 0 since a statement got no answer",
    advice="Start Postgres or repair the network. Nothing is lost: the API answers 503, workers wait",
)
NATS_CONNECTED: Final = MetricSpec(
    kind=Gauge,
    name="waggle_nats_connected",
    where=EVERY,
    meaning="1 while this service is connected to NATS",
    advice="Start NATS or repair the network. Tasks are accepted meanwhile, and run when it is back",
)
CERTIFICATE_EXPIRY: Final = MetricSpec(
    kind=Gauge,
    name="waggle_certificate_expiry_timestamp_seconds",
    unit="seconds",
    labels=("server",),
    where=EVERY,
    meaning="When the TLS certificate of a server ends, as Unix time: `postgres`, `nats`, and the `api` its own; servers without TLS are not shown",
    advice="Renew it before, and let the server load the new one",
)

# The bus: all services that ring or pull.
DOORBELLS_RUNG: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_rung_total",
    labels=("queue",),
    where=("api", "scheduler"),
    advice="None is needed: it follows the submissions. None while tasks are submitted: see waggle_nats_not_storing",
    meaning="Doorbells published",
)
DOORBELLS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_refused_total",
    values=("stream full", "no stream", "refused", "unreadable ack"),
    labels=("reason",),
    where=("api", "scheduler"),
    advice="`stream full`: the lane has as many doorbells as it may; the tasks are rung later. Otherwise look at the JetStream servers",
    meaning="Batches of doorbells that the stream did not accept",
)
DOORBELLS_UNREADABLE: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_unreadable_total",
    where=("worker",),
    advice="Find who else publishes below `waggle.work`: only Waggle may",
    meaning="Messages in the work stream that are not doorbells",
)

# Postgres: all services.
STALE_PRIMARY: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_stale",
    where=("api", "worker", "dlq", "scheduler"),
    advice="Let the address lead to the present primary: docs/high-availability.md",
    meaning="1 while the address of Postgres leads to a primary that was replaced: the service stays away from it",
)

CLOCK_JUMPS: Final = MetricSpec(
    kind=Counter,
    name="waggle_postgres_clock_jumps_total",
    values=("back", "forward"),
    labels=("direction",),
    where=("scheduler",),
    advice="Let chrony or ntpd slew the clock of the database's machine and never step it",
    meaning="Jumps of the database's clock against this scheduler's monotonic one",
)

# Figures of the whole system, from every scheduler: take the maximum.
QUEUE_SIZE: Final = MetricSpec(
    kind=Gauge,
    name="task_queue_size",
    required=True,
    labels=("queue", "priority"),
    where=("scheduler",),
    meaning="Tasks of a lane that are due and wait for a worker",
    advice="Grows: start workers for the queue, or see why they do not finish: `waggle explain`",
)
TASKS_LATER: Final = MetricSpec(
    kind=Gauge,
    name="waggle_tasks_later",
    labels=("queue", "priority"),
    where=("scheduler",),
    meaning="Tasks of a lane that wait for their time: scheduled, snoozed, or in backoff after a failed try",
    advice="None is needed. A jump after errors: many tries fail, see the error rate",
)
TASKS_RUNNING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_tasks_running",
    labels=("queue", "priority"),
    where=("scheduler",),
    meaning="Tasks of a lane that run",
    advice="Equal to all slots: the workers are the bottleneck",
)
OLDEST_WAIT: Final = MetricSpec(
    kind=Gauge,
    name="waggle_oldest_wait_seconds",
    unit="seconds",
    labels=("queue", "priority"),
    where=("scheduler",),
    meaning="How long the first task of a lane has been due, 0 when none waits; paused queues too, see waggle_queue_paused",
    advice="Scale workers by it. Large without workers, or with idle ones: `waggle explain` says why",
)
QUEUE_PAUSED: Final = MetricSpec(
    kind=Gauge,
    name="waggle_queue_paused",
    labels=("queue",),
    where=("scheduler",),
    meaning="1 while a queue is paused",
    advice="`waggle queues resume QUEUE`; `waggle audit-log` says who paused it",
)
WORKERS_LIVE: Final = MetricSpec(
    kind=Gauge,
    name="waggle_workers_live",
    labels=("queue",),
    where=("scheduler",),
    meaning="Workers with a live lease that serve a queue",
    advice="0 while tasks wait: start a worker with this queue",
)
TASKS_UNSERVED: Final = MetricSpec(
    kind=Gauge,
    name="waggle_tasks_unserved",
    labels=("queue",),
    where=("scheduler",),
    meaning="Due tasks of a queue that no live worker serves, while it is not paused",
    advice="Start a worker with this queue: WAGGLE_QUEUES",
)
DUE_LAG: Final = MetricSpec(
    kind=Histogram,
    name="waggle_due_lag_seconds",
    unit="seconds",
    where=("scheduler",),
    meaning="How late the first of the due tasks is rung that are rung together",
    advice="Over a second: the scheduler was down, NATS stored nothing, or an old transaction makes looks slow",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
)
SQL_DOOR: Final = MetricSpec(
    kind=Gauge,
    name="waggle_sql_door_listening",
    where=("scheduler",),
    meaning="1 while this scheduler hears at once of tasks that were inserted by SQL",
    advice="0: they are rung half a second late. Through a pooler nothing is heard: WAGGLE_POSTGRES_DIRECT_URL",
)
OLDEST_TRANSACTION: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_oldest_transaction_seconds",
    unit="seconds",
    where=("scheduler",),
    meaning="Age of the oldest transaction that keeps Postgres from removing dead rows of Waggle's tables",
    advice="`waggle doctor` names it: end it. Every look at the tables gets slower as long as it lives",
)
SLOT_TRANSACTIONS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_slot_transactions",
    where=("scheduler",),
    meaning="Transactions since the snapshot that the oldest replication slot holds, 0 without one",
    advice="Drop a slot that nobody reads: `SELECT pg_drop_replication_slot(…)`",
)
DEAD_ROWS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_dead_rows",
    labels=("table",),
    where=("scheduler",),
    meaning="Dead rows of a hot table, as Postgres estimates them",
    advice="Many times the live rows: autovacuum is off, too slow, or an old transaction holds them",
)
LIVE_ROWS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_live_rows",
    labels=("table",),
    where=("scheduler",),
    meaning="Live rows of a hot table, as Postgres estimates them",
    advice="Grows without end: shorten WAGGLE_RETENTION, or see waggle_tasks_retired_total",
)
DATABASE_BYTES: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_database_bytes",
    unit="bytes",
    where=("scheduler",),
    meaning="Size of the database",
    advice="Grows without end: see the live and the dead rows",
)
POSTGRES_CONNECTIONS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_connections",
    where=("scheduler",),
    meaning="Connections of all clients to the server",
    advice="Near waggle_postgres_connections_most: raise max_connections, or use a pooler (docs/postgres.md)",
)
POSTGRES_CONNECTIONS_MOST: Final = MetricSpec(
    kind=Gauge,
    name="waggle_postgres_connections_most",
    where=("scheduler",),
    meaning="Connections that the server takes from ordinary roles",
    advice="As for waggle_postgres_connections",
)
STREAM_MESSAGES: Final = MetricSpec(
    kind=Gauge,
    name="waggle_stream_messages",
    labels=("stream",),
    where=("scheduler",),
    meaning="Messages in a stream of JetStream; in WAGGLE_WORK the doorbells that no worker has acked",
    advice="WAGGLE_WORK much larger than the tasks that wait: see waggle_doorbells_unclaimed_total",
)
STREAM_BYTES: Final = MetricSpec(
    kind=Gauge,
    name="waggle_stream_bytes",
    unit="bytes",
    labels=("stream",),
    where=("scheduler",),
    meaning="Size of a stream of JetStream",
    advice="Near waggle_stream_limit_bytes: doorbells are refused and rung later. Start workers, or raise WAGGLE_WORK_MAX_BYTES",
)
STREAM_LIMIT: Final = MetricSpec(
    kind=Gauge,
    name="waggle_stream_limit_bytes",
    unit="bytes",
    labels=("stream",),
    where=("scheduler",),
    meaning="Size up to which a stream of JetStream may grow",
    advice="As for waggle_stream_bytes",
)
DISK_FREE: Final = MetricSpec(
    kind=Gauge,
    name="waggle_disk_free_bytes",
    unit="bytes",
    labels=("folder",),
    where=("scheduler",),
    meaning="Free space on the disk of a folder of WAGGLE_DISKS (`waggle up`: its data)",
    advice="Free some, or enlarge the disk: a full one stops Postgres and JetStream. Nothing that was accepted is lost",
)
DISK_SIZE: Final = MetricSpec(
    kind=Gauge,
    name="waggle_disk_size_bytes",
    unit="bytes",
    labels=("folder",),
    where=("scheduler",),
    meaning="Size of that disk",
    advice="As for waggle_disk_free_bytes",
)

# The API.
TASKS_SUBMITTED: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_submitted_total",
    convention=Convention(
        "messaging.client.sent.messages",
        "{message}",
        {"queue": "messaging.destination.name", "type": "waggle.task.type"},
        {**WAGGLE, "messaging.operation.name": "send"},
    ),
    labels=("type", "queue"),
    where=("api",),
    advice="None is needed: it is the demand. Compare with `waggle_attempts_total` for what is worked off",
    meaning="Tasks accepted and committed",
)
HTTP_REQUESTS: Final = MetricSpec(
    kind=Counter,
    name="waggle_http_requests_total",
    labels=("method", "route", "status"),
    where=("api",),
    advice="5xx: read the API's log by `request_id`; many 4xx from one client: its requests are wrong, or it is not welcome",
    meaning="Requests answered",
)
HTTP_REQUEST_SECONDS: Final = MetricSpec(
    kind=Histogram,
    name="waggle_http_request_duration_seconds",
    unit="seconds",
    labels=("route", "status"),
    where=("api",),
    advice="Compare with `waggle_statement_duration_seconds`: slow too, then it is Postgres; if not, start another API process",
    meaning="Time from the head of a request to the end of its response",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
HTTP_CONNECTIONS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_http_connections",
    where=("api",),
    advice="Near the limit: find the client that does not close its connections, or raise WAGGLE_API_CONNECTIONS",
    meaning="Open connections",
)
RATE_LIMITED: Final = MetricSpec(
    kind=Counter,
    name="rate_limit_exceeded_total",
    values=("requests", "tasks", "logins", "refreshes"),
    labels=("policy",),
    where=("api",),
    advice="Ask the client to slow down, or raise the limit of its key: docs/security.md",
    meaning="Requests refused because a client was over its quota",
    required=True,
)
AUTH_FAILURES: Final = MetricSpec(
    kind=Counter,
    name="auth_failures_total",
    where=("api",),
    advice="Look up the addresses with `waggle audit-log`; a service with an old key needs the new one",
    meaning="Requests without a valid API key",
    required=True,
)
HTTP_CONNECTIONS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_http_connections_refused_total",
    values=("address", "all"),
    labels=("limit",),
    where=("api",),
    advice="`address`: one client opens too many; `all`: start another API process, or raise the limit",
    meaning="Connections that were one too many: of one address, or in all",
)
HTTP_LISTENING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_http_listening_readers",
    where=("api",),
    advice="None is needed. Each holds a connection of the API's limit",
    meaning="Readers of the events of tasks, and of what a task emits",
)
HTTP_WAITING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_http_waiting",
    where=("api",),
    advice="None is needed. Many: each one holds a connection for as long as its task takes",
    meaning="Requests (`?wait=`) that wait for their task to finish",
)
COMMIT_BATCH_SIZE: Final = MetricSpec(
    kind=Histogram,
    name="waggle_commit_batch_size",
    where=("api",),
    advice="None is needed. It grows with the load; always 1 under load means that submissions do not meet one another",
    meaning="Tasks committed together",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000),
)

INGESTED: Final = MetricSpec(
    kind=Counter,
    name="waggle_messages_ingested_total",
    labels=("outcome",),
    values=("accepted", "later"),
    where=("api",),
    advice="None is needed for accepted. Later: Postgres did not answer, and the messages wait in WAGGLE_SUBMIT",
    meaning="Messages of publishers that were accepted, or were given back to come again later",
)
REJECTED: Final = MetricSpec(
    kind=Counter,
    name="waggle_messages_rejected_total",
    labels=("code",),
    values=("invalid_input", "validation_error", "unauthorized", "internal_error"),
    where=("api",),
    advice="`waggle rejected list` says why; after the repair `waggle rejected resubmit`",
    meaning="Messages of publishers that could not be accepted, and are kept in WAGGLE_REJECTED for a week",
)

EVENTS: Final = MetricSpec(
    kind=Counter,
    name="waggle_events_published_total",
    where=("api", "worker", "dlq", "scheduler"),
    advice="None is needed. WAGGLE_EVENTS says which changes are published",
    meaning="Changes of tasks that were published to waggle.event.>",
)

# The worker.
PROCESSING_RATE: Final = MetricSpec(
    kind=Gauge,
    name="task_processing_rate",
    required=True,
    unit="per minute",
    where=("worker",),
    meaning="Tries that ended on this worker in the last minute, successful or not",
    advice="0 while tasks wait: `waggle explain`",
)
ERROR_RATE: Final = MetricSpec(
    kind=Gauge,
    name="task_error_rate",
    required=True,
    unit="per minute",
    where=("worker",),
    meaning="Tries that failed on this worker in the last minute; snoozes, cancels and open breakers are no failures",
    advice="`waggle dlq groups` and the log line `try failed, will be retried` say what fails",
)
QUEUE_WAIT: Final = MetricSpec(
    kind=BatchHistogram,
    name="waggle_queue_wait_seconds",
    unit="seconds",
    labels=("queue", "priority"),
    where=("worker",),
    meaning="Time from when a task was due to its claim: its delay, schedule and backoff do not count",
    advice="Start workers, or move slow types to a queue of their own",
    buckets=WAIT_SECONDS,
    convention=Convention(
        "messaging.client.consumed.messages",
        "{message}",
        {"queue": "messaging.destination.name"},
        {**WAGGLE, "messaging.operation.name": "receive"},
        count=True,
    ),
)
SLOTS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_worker_slots",
    where=("worker",),
    meaning="Handlers that this worker may run at the same time",
    advice="All taken (waggle_worker_running): start another worker, or raise WAGGLE_CONCURRENCY",
)
SLOTS_LOST: Final = MetricSpec(
    kind=Gauge,
    name="waggle_worker_slots_lost",
    where=("worker",),
    meaning="Slots of this worker that are taken by handlers that have not ended 10 seconds after their timeout",
    advice="Give what the handlers call a timeout of its own. From half of the slots on the worker ends with code 3, to be replaced",
)
SERIALISATION: Final = MetricSpec(
    kind=Counter,
    name="waggle_serialisation_seconds_total",
    unit="seconds",
    labels=("what",),
    values=("payload", "result"),
    where=("worker",),
    meaning="Time spent on reading payloads into arguments, and on writing results",
    advice="A large share of system_cpu_usage: send references instead of large payloads",
)
DOORBELLS_REDELIVERED: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_redelivered_total",
    where=("worker",),
    meaning="Doorbells that were delivered before: given back, or not acked in time",
    advice="None is needed while it is small. Many: workers die, or hold more than they can start",
)
ATTEMPTS: Final = MetricSpec(
    kind=Counter,
    name="waggle_attempts_total",
    labels=("type", "outcome"),
    where=("worker",),
    advice="Failures: `waggle dlq list`, and the dashboard of the type",
    meaning="Attempts that ended on this worker",
)
TASK_SECONDS: Final = MetricSpec(
    kind=BatchHistogram,
    name="task_processing_duration",
    convention=Convention("messaging.process.duration", "s", {"type": "waggle.task.type"}, {**WAGGLE, "messaging.operation.name": "process"}),
    required=True,
    unit="seconds",
    labels=("type",),
    where=("worker",),
    advice="Look at a trace of the type. Near its timeout: make the handler quicker or the timeout longer",
    meaning="Time from the start of a handler to its end",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300),
)
OUTCOMES_DROPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_outcomes_dropped_total",
    values=("unknown", "cancelled", "deadline", "lease_lost", "settled_before", "stopped"),
    labels=("reason",),
    where=("worker",),
    advice="`lease_lost`: the worker was cut off or its event loop stood still; `stopped`: the task was cancelled or timed out",
    meaning="Outcomes discarded because the attempt no longer held its task",
)
NATS_NOT_STORING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_nats_not_storing",
    where=("api", "scheduler"),
    advice="Look at the JetStream cluster: it has no leader, or its disk is full. Nothing is lost meanwhile",
    meaning="1 while NATS is connected but acknowledges no message: tasks are accepted and wait, see docs/operating.md",
)
DOORBELLS_UNCLAIMED: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_unclaimed_total",
    where=("worker",),
    advice="None is needed. Many: doorbells of cancelled tasks, or tasks that were rung twice after an outage",
    meaning="Doorbells whose task was not claimable",
)
DOORBELLS_GIVEN_BACK: Final = MetricSpec(
    kind=Counter,
    name="waggle_doorbells_given_back_total",
    where=("worker",),
    advice="None is needed: other workers get them. Many: all workers are busy, start another",
    meaning="Doorbells returned because no slot became free in time",
)
LOSSES_UNDONE: Final = MetricSpec(
    kind=Counter,
    name="waggle_losses_undone_total",
    where=("worker",),
    advice="The worker was cut off from Postgres for longer than its lease: look at the network between them",
    meaning="Tries that were charged because this worker was cut off from Postgres, and not charged after all when it was back",
)
SUSPECTS_PUT_OFF: Final = MetricSpec(
    kind=Counter,
    name="waggle_suspects_put_off_total",
    where=("worker",),
    advice="A task may kill its worker: `waggle tasks list --status pending` and the exit codes of the worker processes",
    meaning="Times that a task that was lost before had to wait its turn, unclaimed",
)
WORKER_RUNNING: Final = MetricSpec(
    kind=Gauge,
    name="waggle_worker_running",
    where=("worker",),
    advice="Equal to the slots for long: start another worker, or raise WAGGLE_CONCURRENCY",
    meaning="Handlers running now",
)
LEASES_LOST: Final = MetricSpec(
    kind=Counter,
    name="waggle_leases_lost_total",
    where=("worker",),
    advice="The worker was cut off from Postgres, or a handler blocked its event loop: see system_event_loop_lag",
    meaning="Leases of this worker that expired",
)
CLEANUPS: Final = MetricSpec(
    kind=Counter,
    name="waggle_cleanups_total",
    labels=("type", "outcome"),
    where=("worker",),
    advice="`given_up`: the cleanup of these tasks was never done; the log line `cleanup failed, given up` names them",
    meaning="Calls of cleanup hooks: `done`, `failed` (called again later), `given_up`",
)
PROCESSES_REPLACED: Final = MetricSpec(
    kind=Counter,
    name="waggle_handler_processes_replaced_total",
    labels=("reason",),
    values=("tasks", "memory", "children"),
    where=("worker",),
    advice="`memory` often: the code leaks, or `WAGGLE_HANDLER_PROCESS_MAX_MEMORY` is too low. `children`: handlers return before what they started ends",
    meaning="Processes of handlers that ended after a task: a limit of `tasks` or `memory`, or `children` that the handler left behind",
)
MISFITS_LEFT: Final = MetricSpec(
    kind=Counter,
    name="waggle_payloads_left_total",
    labels=("type",),
    where=("worker",),
    advice="Usual while workers are replaced. Else give them the same code: `waggle types show` lists the versions and who serves them",
    meaning="Payloads that this worker's version of the type cannot read, and that were left to a live version that can",
)
BREAKER_TRIPS: Final = MetricSpec(
    kind=Counter,
    name="circuit_breaker_trips_total",
    required=True,
    labels=("breaker",),
    where=("worker",),
    advice="The service behind the breaker fails: `waggle breakers list`",
    meaning="Times that failures of this worker's calls opened a circuit breaker",
)
BREAKERS_OPEN: Final = MetricSpec(
    kind=Gauge,
    name="waggle_breakers_open",
    labels=("breaker", "state"),
    where=("worker",),
    advice="Its tasks wait, without cost. When the service is back, `waggle breakers reset NAME` ends the wait",
    meaning="Circuit breakers that are `open` or `half_open`, as this worker knows them",
)
BREAKERS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_breakers_refused_total",
    labels=("breaker",),
    where=("worker",),
    advice="None is needed: each is a call that was spared. It ends when the breaker closes",
    meaning="Calls not made because a circuit breaker was open",
)

# The dlq service.
DLQ_SIZE: Final = MetricSpec(
    kind=Gauge,
    name="dlq_size",
    required=True,
    where=("dlq",),
    advice="`waggle dlq groups` shows what failed and why; retry or remove them",
    meaning="Dead letters, read every 10 s",
)
DLQ_LETTERS: Final = MetricSpec(
    kind=Gauge,
    name="waggle_dlq_letters",
    labels=("type", "code"),
    where=("dlq",),
    meaning="Dead letters by type and error code, the fifty largest groups",
    advice="`waggle dlq groups --type TYPE` shows the errors",
)
DLQ_CLEANED: Final = MetricSpec(
    kind=Counter,
    name="dlq_tasks_cleaned_total",
    values=("old", "excess"),
    required=True,
    labels=("reason",),
    where=("dlq",),
    advice="`excess`: dead letters go before anybody has looked at them: raise WAGGLE_DLQ_MAX_SIZE, or look sooner",
    meaning="Dead letters that a DLQ cleanup made `failed`: `old`, or `excess` over the maximum size",
)
DLQ_REMAINING: Final = MetricSpec(
    kind=Gauge, name="dlq_tasks_remaining", required=True, where=("dlq",), advice="As for dlq_size", meaning="Dead letters left after the last DLQ cleanup"
)
DLQ_CLEANUP_SECONDS: Final = MetricSpec(
    kind=Histogram,
    name="dlq_cleanup_duration",
    required=True,
    unit="seconds",
    where=("dlq",),
    advice="Longer than the interval between two: look at the oldest transaction of Postgres",
    meaning="Duration of a DLQ cleanup",
)
DLQ_CLEANUP_SUCCESS: Final = MetricSpec(
    kind=Counter,
    name="dlq_cleanup_success_total",
    required=True,
    where=("dlq",),
    advice="Does not grow: the dlq service is down, or see dlq_cleanup_failure_total",
    meaning="DLQ cleanups that succeeded",
)
DLQ_CLEANUP_FAILURE: Final = MetricSpec(
    kind=Counter,
    name="dlq_cleanup_failure_total",
    required=True,
    where=("dlq",),
    advice="Postgres was away: look at waggle_postgres_connected",
    meaning="DLQ cleanups that an outage interrupted",
)
DLQ_RETRIED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_retried_total",
    values=("manual", "automatic", "redrive"),
    labels=("how",),
    where=("dlq",),
    advice="`automatic` without successes: these tasks fail for good; lower WAGGLE_DLQ_RETRY_LIMIT or opt the type out",
    meaning="Dead letters that became pending again: `manual`, `automatic`, `redrive`",
)
DLQ_REMOVED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_removed_total",
    where=("dlq",),
    advice="None is needed: an operator did it, see `waggle audit-log`",
    meaning="Dead letters that an operator made `failed`",
)
DLQ_SKIPPED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_skipped_total",
    values=("deadline", "unique_key", "unfit"),
    labels=("reason",),
    where=("dlq",),
    advice="`deadline`: submit them again with a later one; `unique_key`: another task does the work already; "
    "`unfit`: `waggle dlq retries ID` says what is wrong",
    meaning="Dead letters that a redrive skipped: `deadline` passed, `unique_key` taken, `unfit`: the changed payload does not fit its type",
)
DLQ_REDRIVES_ENDED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_redrives_ended_total",
    values=("completed", "stopped", "cancelled"),
    labels=("state",),
    where=("dlq",),
    advice="`stopped`: too many of its tasks failed again; find out why before the next one",
    meaning="Redrives that ended: `completed`, `stopped`, `cancelled`",
)
DLQ_COMMANDS_REFUSED: Final = MetricSpec(
    kind=Counter,
    name="waggle_dlq_commands_refused_total",
    values=("not_found", "conflict", "invalid", "too_late", "unreadable", "unknown"),
    labels=("reason",),
    where=("dlq",),
    advice="The log line of the dlq service says which and why",
    meaning="Commands that the dlq service did not carry out",
)

# The scheduler.
TASKS_OVERDUE: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_overdue_total",
    values=("pending", "running"),
    labels=("was",),
    where=("scheduler",),
    advice="Was `pending`: not enough workers, or a paused queue; was `running`: the handler is too slow for the deadline",
    meaning="Tasks that failed at their deadline, by their status before",
)
TASKS_RETIRED: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_retired_total",
    where=("scheduler",),
    advice="Does not grow: the table of tasks does. Look at waggle_loop_failures_total and the oldest transaction",
    meaning="Finished tasks deleted after their retention",
)
TASKS_TAKEN_BACK: Final = MetricSpec(
    kind=Counter,
    name="waggle_tasks_taken_back_total",
    values=("pending", "dead_letter", "failed"),
    labels=("next",),
    where=("scheduler",),
    advice="Workers die or are cut off: look at their exit codes, memory limits and network. `dead_letter`: a task kills its workers",
    meaning="Tasks taken back from workers without a live lease, by their next status",
)
ORPHANS_RUNG: Final = MetricSpec(
    kind=Counter,
    name="waggle_orphans_rung_total",
    labels=("queue",),
    where=("scheduler",),
    advice="JetStream lost doorbells: its store was wiped or restored. The tasks run now, late",
    meaning="Tasks rung again because their doorbell was lost",
)


def declared() -> list[MetricSpec[Any]]:
    """All metrics, in the order above."""
    return [value for value in globals().values() if isinstance(value, MetricSpec)]
