"""The Grafana dashboards of Waggle: `uv run just dashboards` writes them to deploy/grafana/dashboards/ and docs/dashboards.md; a test holds both to this file."""

import json
import textwrap
from pathlib import Path
from typing import Final

from panels import JOB, Board, Panel, quantile, rate, ratio, rendered, top

HERE: Final = Path(__file__).parent
DOCS: Final = HERE.parents[1] / "docs" / "dashboards.md"
DOC_WIDTH: Final = 118

TO_TYPE: Final = ("The type in detail", "/d/waggle-type?var-type=${__field.labels.type}&${__url_time_range}")
TO_QUEUES: Final = ("The queues", "/d/waggle-queues?${__url_time_range}")
TO_DEAD: Final = ("Dead letters", "/d/waggle-dead-letters?${__url_time_range}")
TO_TRACES: Final = (
    "Its traces",
    '/explore?left={"queries":[{"query":"{ span.waggle.task.type = \\"${type}\\" }","queryType":"traceql"}],"datasource":"${traces}"}',
)

FAILED: Final = ', outcome=~"failed|lost"'
TRIED: Final = ', outcome=~"completed|failed|lost"'
OF_TYPE: Final = ', type=~"$type"'
OF_QUEUE: Final = ', queue=~"$queue"'

OVERVIEW: Final = Board(
    "waggle-overview",
    "Waggle: overview",
    "Is it healthy? What waits, how long, and what fails? All slots busy means overloaded; waiting tasks with free slots means that no worker serves them.",
    [
        (
            "Now",
            [
                Panel(
                    "Longest wait",
                    [
                        (
                            f"max({top('waggle_oldest_wait_seconds', 'queue')} unless on (queue) ({top('waggle_queue_paused', 'queue')} == 1)) or vector(0)",
                            "longest wait",
                        )
                    ],
                    "s",
                    "How long the first task of any queue that is not paused has been due. Look at the slots beside it: busy, start workers; free, run `waggle explain`.",
                    "stat",
                    4,
                    60,
                    TO_QUEUES,
                ),
                Panel(
                    "Overloaded: slots in use",
                    [(f"sum(waggle_worker_running{{{JOB}}}) / sum(waggle_worker_slots{{{JOB}}})", "slots in use")],
                    "percentunit",
                    "All in use while tasks wait: start workers, or raise WAGGLE_CONCURRENCY.",
                    "stat",
                    4,
                    0.95,
                ),
                Panel(
                    "No worker for",
                    [(f"sum({top('waggle_tasks_unserved', 'queue')})", "tasks without a worker")],
                    "short",
                    "Due tasks of queues that no live worker serves. Start a worker with the queue: WAGGLE_QUEUES.",
                    "stat",
                    4,
                    1,
                    TO_QUEUES,
                ),
                Panel(
                    "Failing tries",
                    [
                        (
                            ratio(f"sum(rate(waggle_attempts_total{{{JOB}{FAILED}}}[5m]))", f"sum(rate(waggle_attempts_total{{{JOB}{TRIED}}}[5m]))"),
                            "of all tries",
                        )
                    ],
                    "percentunit",
                    "The share of tries that failed in the last five minutes. The panel below says of which type.",
                    "stat",
                    4,
                    0.05,
                ),
                Panel(
                    "Dead letters",
                    [(f"max(dlq_size{{{JOB}}})", "dead letters")],
                    "short",
                    "`waggle dlq groups` shows what failed and why.",
                    "stat",
                    4,
                    1000,
                    TO_DEAD,
                ),
                Panel(
                    "Breakers not closed",
                    [(f"count(max by (breaker) (waggle_breakers_open{{{JOB}}}) > 0) or vector(0)", "open")],
                    "short",
                    "A service that handlers call fails; its tasks wait without cost. `waggle breakers list` names it.",
                    "stat",
                    4,
                    1,
                ),
            ],
        ),
        (
            "Work",
            [
                Panel(
                    "In and out",
                    [(rate("waggle_tasks_submitted_total"), "submitted"), (rate("waggle_attempts_total", "outcome"), "{{outcome}}")],
                    "ops",
                    "Submitted above completed for long: the backlog grows. Start workers.",
                ),
                Panel(
                    "Waiting and running",
                    [
                        (f"sum({top('task_queue_size', 'queue, priority')})", "waiting"),
                        (f"sum({top('waggle_tasks_running', 'queue, priority')})", "running"),
                        (f"sum({top('waggle_tasks_later', 'queue, priority')})", "later"),
                    ],
                    "short",
                    "Waiting tasks are due. Later ones wait for their time, a retry or a breaker.",
                    link=TO_QUEUES,
                ),
                Panel(
                    "Time in the queue",
                    [(quantile(0.5, "waggle_queue_wait_seconds"), "half of the tasks"), (quantile(0.99, "waggle_queue_wait_seconds"), "99 of 100")],
                    "s",
                    "From due to claimed, without delay and backoff. Grows with the load when workers are too few.",
                    link=TO_QUEUES,
                ),
                Panel(
                    "Failing types",
                    [(f"topk(10, {rate('waggle_attempts_total', 'type', FAILED)})", "{{type}}")],
                    "ops",
                    "Tries that failed, by type. Follow the link to the type: its errors and its traces.",
                    link=TO_TYPE,
                ),
                Panel(
                    "Handler time by type",
                    [(f"topk(10, {rate('task_processing_duration_sum', 'type')})", "{{type}}")],
                    "s",
                    "Seconds of handlers per second: what each type costs. One that grows without more tasks has become slower.",
                    link=TO_TYPE,
                ),
                Panel(
                    "Services",
                    [(f"sum by (service) (up{{{JOB}}})", "{{service}}")],
                    "short",
                    "Processes that answer the scrape. Fewer than you started: read their logs, `waggle doctor`.",
                ),
            ],
        ),
    ],
)

QUEUES: Final = Board(
    "waggle-queues",
    "Waggle: queues and lanes",
    "Which queue waits, since when, and why: no worker, a pause, or more work than slots?",
    [
        (
            "Waiting",
            [
                Panel(
                    "Due and waiting",
                    [(top("task_queue_size", "queue, priority", OF_QUEUE), "{{queue}} {{priority}}")],
                    "short",
                    "Grows: start workers for the queue. `waggle explain` says why its tasks wait.",
                    stacked=True,
                ),
                Panel(
                    "Longest wait of a lane",
                    [(top("waggle_oldest_wait_seconds", "queue, priority", OF_QUEUE), "{{queue}} {{priority}}")],
                    "s",
                    "How long the first task has been due, in paused queues too. Scale workers by it.",
                    bad=60,
                ),
                Panel(
                    "Time in the queue, 99 of 100",
                    [(quantile(0.99, "waggle_queue_wait_seconds", "queue", OF_QUEUE), "{{queue}}")],
                    "s",
                    "Of tasks that were claimed. Large for one queue: give it workers of its own.",
                ),
                Panel(
                    "Later",
                    [(top("waggle_tasks_later", "queue, priority", OF_QUEUE), "{{queue}} {{priority}}")],
                    "short",
                    "Scheduled, snoozed, in backoff or before an open breaker. A jump after errors: look at the failing types.",
                    stacked=True,
                ),
                Panel(
                    "Running",
                    [(top("waggle_tasks_running", "queue, priority", OF_QUEUE), "{{queue}} {{priority}}")],
                    "short",
                    "By lane. Equal to all slots: the workers are the limit.",
                    stacked=True,
                ),
                Panel(
                    "Submitted",
                    [(rate("waggle_tasks_submitted_total", "queue", OF_QUEUE), "{{queue}}")],
                    "ops",
                    "The demand. A jump has a submitter: `waggle tasks list`.",
                ),
            ],
        ),
        (
            "Who serves them",
            [
                Panel(
                    "Live workers",
                    [(top("waggle_workers_live", "queue", OF_QUEUE), "{{queue}}")],
                    "short",
                    "0 while tasks wait: start a worker with this queue.",
                ),
                Panel(
                    "Tasks without a worker",
                    [(top("waggle_tasks_unserved", "queue", OF_QUEUE), "{{queue}}")],
                    "short",
                    "Start a worker with this queue: WAGGLE_QUEUES.",
                    bad=1,
                ),
                Panel(
                    "Paused",
                    [(top("waggle_queue_paused", "queue", OF_QUEUE), "{{queue}}")],
                    "bool",
                    "1 while paused. `waggle queues resume QUEUE`; `waggle audit-log` says who paused it.",
                ),
            ],
        ),
        (
            "Rings",
            [
                Panel(
                    "Doorbells",
                    [
                        (rate("waggle_doorbells_rung_total", "queue"), "rung for {{queue}}"),
                        (rate("waggle_orphans_rung_total", "queue"), "rung again for {{queue}}"),
                    ],
                    "ops",
                    "Rung again: JetStream lost doorbells. The tasks run now, late. Look at its store.",
                ),
                Panel(
                    "Doorbells refused",
                    [(rate("waggle_doorbells_refused_total", "reason"), "{{reason}}")],
                    "ops",
                    "`stream full`: a lane has as many as it may; they are rung later. Else look at JetStream.",
                ),
                Panel(
                    "Lateness of due tasks",
                    [(quantile(0.99, "waggle_due_lag_seconds"), "99 of 100 rings"), (rate("waggle_due_lag_seconds_count"), "rings a second")],
                    "s",
                    "Over a second: the scheduler was down, NATS stored nothing, or an old transaction slows the looks.",
                    bad=1,
                ),
                Panel(
                    "Schedulers that hear of tasks from SQL",
                    [("sum(waggle_sql_door_listening)", "schedulers")],
                    "short",
                    "0: tasks from SQL are rung half a second late. Through a pooler nothing is heard: WAGGLE_POSTGRES_DIRECT_URL.",
                ),
                Panel(
                    "Deadlines missed",
                    [(rate("waggle_tasks_overdue_total", "was"), "was {{was}}")],
                    "ops",
                    "`pending`: too few workers or a pause; `running`: the handler is too slow for the deadline.",
                ),
                Panel(
                    "Deleted after their retention",
                    [(rate("waggle_tasks_retired_total"), "tasks")],
                    "ops",
                    "0 for hours while old tasks are there: look at the failing loops and the oldest transaction.",
                ),
                Panel(
                    "Clock of the database jumped",
                    [(rate("waggle_postgres_clock_jumps_total", "direction"), "{{direction}}")],
                    "ops",
                    "Let chrony or ntpd slew the clock, and never step it.",
                ),
            ],
        ),
    ],
    [("queue", "Queue", "label_values(task_queue_size, queue)")],
)

WORKERS: Final = Board(
    "waggle-workers",
    "Waggle: workers",
    "Are the workers busy, quick and alive? Which breaker is open?",
    [
        (
            "Load",
            [
                Panel(
                    "Slots in use",
                    [
                        (f"sum by (instance) (waggle_worker_running{{{JOB}}})", "{{instance}} running"),
                        (f"sum by (instance) (waggle_worker_slots{{{JOB}}})", "{{instance}} slots"),
                        (f"sum by (instance) (waggle_worker_slots_lost{{{JOB}}})", "{{instance}} lost"),
                    ],
                    "short",
                    "Running equal to the slots for long: start another worker.",
                ),
                Panel(
                    "Tries a minute",
                    [
                        (f"sum by (instance) (task_processing_rate{{{JOB}}})", "{{instance}}"),
                        (f"sum by (instance) (task_error_rate{{{JOB}}})", "{{instance}} failed"),
                    ],
                    "short",
                    "0 while tasks wait: `waggle explain`. Many failed: `waggle dlq groups`.",
                ),
                Panel(
                    "CPU",
                    [(f"system_cpu_usage{{{JOB}}}", "{{service}} {{instance}}")],
                    "percent",
                    "100 is one core. A worker near 100: start another process (`--processes`).",
                    bad=95,
                ),
                Panel(
                    "Memory",
                    [(f"system_memory_usage{{{JOB}}}", "{{service}} {{instance}}")],
                    "bytes",
                    "Grows without end: a handler keeps what it made. Restart, and look at its code.",
                ),
                Panel(
                    "Lateness of the event loop",
                    [(f"system_event_loop_lag{{{JOB}}}", "{{service}} {{instance}}")],
                    "ms",
                    "Over 100 ms in a worker: a handler blocks the loop. Make it a plain function, or process=True.",
                    bad=100,
                ),
                Panel(
                    "Reading payloads, writing results",
                    [(rate("waggle_serialisation_seconds_total", "what"), "{{what}}")],
                    "s",
                    "Seconds per second. A large share of the CPU: send references instead of large payloads.",
                ),
            ],
        ),
        (
            "Claims and outcomes",
            [
                Panel(
                    "Claim and settle",
                    [(quantile(0.99, "waggle_statement_duration_seconds", "statement", ', statement=~"tasks/claim|tasks/settle"'), "{{statement}}")],
                    "s",
                    "99 of 100. Slow: Postgres is short of disk or CPU, or has an old transaction.",
                ),
                Panel(
                    "Outcomes",
                    [(rate("waggle_attempts_total", "outcome"), "{{outcome}}")],
                    "ops",
                    "`given_back` and `snoozed` cost no try. Many failed: look at the type.",
                ),
                Panel(
                    "Outcomes dropped",
                    [(rate("waggle_outcomes_dropped_total", "reason"), "{{reason}}")],
                    "ops",
                    "`lease_lost`: the worker was cut off, or its loop stood still.",
                ),
                Panel(
                    "Doorbells",
                    [
                        (rate("waggle_doorbells_given_back_total"), "given back"),
                        (rate("waggle_doorbells_redelivered_total"), "redelivered"),
                        (rate("waggle_doorbells_unclaimed_total"), "nothing to claim"),
                        (rate("waggle_doorbells_unreadable_total"), "unreadable"),
                    ],
                    "ops",
                    "Many given back: all workers are busy. Unreadable: somebody else publishes below `waggle.work`.",
                ),
                Panel(
                    "Cleanups",
                    [(rate("waggle_cleanups_total", "type, outcome"), "{{type}} {{outcome}}")],
                    "ops",
                    "`given_up`: the cleanup was never done; the log line `cleanup failed, given up` names the task.",
                ),
                Panel(
                    "Handler processes replaced",
                    [(rate("waggle_handler_processes_replaced_total", "reason"), "{{reason}}")],
                    "ops",
                    "Often `memory`: the code leaks, or the limit is too low. `children`: a handler left processes behind.",
                ),
                Panel(
                    "Left to another version",
                    [(rate("waggle_payloads_left_total", "type"), "{{type}}")],
                    "ops",
                    "Usual while workers are replaced; else they have different code: `waggle types show`.",
                ),
                Panel(
                    "Suspects put off",
                    [(rate("waggle_suspects_put_off_total"), "put off")],
                    "ops",
                    "A task may kill its worker: look at the exit codes of the worker processes.",
                ),
            ],
        ),
        (
            "Losses and breakers",
            [
                Panel(
                    "Leases lost",
                    [(rate("waggle_leases_lost_total"), "lost"), (rate("waggle_losses_undone_total"), "tries given back")],
                    "ops",
                    "The worker was cut off from Postgres, or a handler blocked its loop.",
                ),
                Panel(
                    "Tasks taken back",
                    [(rate("waggle_tasks_taken_back_total", "next"), "now {{next}}")],
                    "ops",
                    "Workers die: look at their exit codes and memory. `dead_letter`: a task kills its workers.",
                ),
                Panel(
                    "Circuit breakers",
                    [(f"sum by (breaker, state) (waggle_breakers_open{{{JOB}}})", "{{breaker}} {{state}}")],
                    "short",
                    "Workers for which it is not closed. When the service is back, `waggle breakers reset NAME` ends the wait.",
                ),
                Panel(
                    "Trips",
                    [(rate("circuit_breaker_trips_total", "breaker"), "{{breaker}}")],
                    "ops",
                    "The service behind the breaker fails: `waggle breakers show NAME` has its last error.",
                ),
                Panel(
                    "Calls spared",
                    [(rate("waggle_breakers_refused_total", "breaker"), "{{breaker}}")],
                    "ops",
                    "Not made because the breaker was open. It ends when the service is back.",
                ),
            ],
        ),
    ],
)

DEAD: Final = Board(
    "waggle-dead-letters",
    "Waggle: dead letters",
    "What failed for good, by type and error? What came back, and did it work?",
    [
        (
            "What is there",
            [
                Panel(
                    "Dead letters",
                    [(f"max(dlq_size{{{JOB}}})", "dead letters"), (f"max(dlq_tasks_remaining{{{JOB}}})", "after the last cleanup")],
                    "short",
                    "`waggle dlq groups` shows what failed and why; retry or remove them.",
                    bad=1000,
                ),
                Panel(
                    "By type",
                    [(f"sum by (type) (max by (type, code) (waggle_dlq_letters{{{JOB}}}))", "{{type}}")],
                    "short",
                    "Follow the link to the type: its error rate, its traces.",
                    link=TO_TYPE,
                    stacked=True,
                ),
                Panel(
                    "By error",
                    [(f"sum by (code) (max by (type, code) (waggle_dlq_letters{{{JOB}}}))", "{{code}}")],
                    "short",
                    "`validation_error`: payloads that no handler takes. `task_timeout`: too slow. `network_error`: a service was away.",
                    stacked=True,
                ),
            ],
        ),
        (
            "What comes back, what goes",
            [
                Panel(
                    "Retried",
                    [(rate("waggle_dlq_retried_total", "how"), "{{how}}")],
                    "ops",
                    "`automatic` without successes: these fail for good; lower WAGGLE_DLQ_RETRY_LIMIT.",
                ),
                Panel(
                    "Skipped by a bulk retry",
                    [(rate("waggle_dlq_skipped_total", "reason"), "{{reason}}")],
                    "ops",
                    "`deadline`: submit them again; `unique_key`: another task does the work.",
                ),
                Panel(
                    "Bulk retries ended",
                    [(rate("waggle_dlq_redrives_ended_total", "state"), "{{state}}")],
                    "ops",
                    "`stopped`: too many failed again. Find out why first.",
                ),
                Panel(
                    "Removed and cleaned",
                    [(rate("waggle_dlq_removed_total"), "by an operator"), (rate("dlq_tasks_cleaned_total", "reason"), "{{reason}}")],
                    "ops",
                    "`excess`: they go before anybody looked: raise WAGGLE_DLQ_MAX_SIZE.",
                ),
                Panel(
                    "Commands refused",
                    [(rate("waggle_dlq_commands_refused_total", "reason"), "{{reason}}")],
                    "ops",
                    "The log of the dlq service says which and why.",
                ),
                Panel(
                    "Cleanups",
                    [
                        (rate("dlq_cleanup_success_total"), "succeeded"),
                        (rate("dlq_cleanup_failure_total"), "failed"),
                        (quantile(0.99, "dlq_cleanup_duration"), "seconds, 99 of 100"),
                    ],
                    "short",
                    "Failed: Postgres was away. Slow: look at the oldest transaction.",
                ),
            ],
        ),
    ],
)

API: Final = Board(
    "waggle-api",
    "Waggle: API and security",
    "Are requests answered, how quickly, and who is refused?",
    [
        (
            "Requests",
            [
                Panel(
                    "By status",
                    [(rate("waggle_http_requests_total", "status"), "{{status}}")],
                    "reqps",
                    "5xx: read the API's log by `request_id`. Many 4xx: a client sends wrong requests.",
                ),
                Panel(
                    "By route",
                    [(rate("waggle_http_requests_total", "method, route"), "{{method}} {{route}}")],
                    "reqps",
                    "A jump has a client: the log of the API at level debug names it.",
                ),
                Panel(
                    "Time of a request, 99 of 100",
                    [(quantile(0.99, "waggle_http_request_duration_seconds", "route, status"), "{{route}} {{status}}")],
                    "s",
                    "Slow with slow statements: Postgres. Slow without: start another API. `?wait=` waits on purpose.",
                ),
                Panel(
                    "Tasks committed together",
                    [(quantile(0.5, "waggle_commit_batch_size"), "half of the commits"), (quantile(0.99, "waggle_commit_batch_size"), "99 of 100")],
                    "short",
                    "Grows with the load. Always 1 under load: submissions do not meet one another.",
                ),
                Panel(
                    "Connections",
                    [
                        (f"sum by (instance) (waggle_http_connections{{{JOB}}})", "{{instance}}"),
                        (f"sum by (instance) (waggle_http_waiting{{{JOB}}})", "{{instance}} waiting for a task"),
                    ],
                    "short",
                    "Near WAGGLE_API_CONNECTIONS: find the client that does not close its own.",
                ),
            ],
        ),
        (
            "Publishers and events",
            [
                Panel(
                    "Messages of publishers",
                    [(rate("waggle_messages_ingested_total", "outcome"), "{{outcome}}")],
                    "ops",
                    "`later`: Postgres does not answer, and the messages wait in WAGGLE_SUBMIT.",
                ),
                Panel(
                    "Messages rejected",
                    [(rate("waggle_messages_rejected_total", "code"), "{{code}}")],
                    "ops",
                    "`waggle rejected list` says why; after the repair `waggle rejected resubmit`.",
                ),
                Panel(
                    "Events published, and who listens",
                    [(rate("waggle_events_published_total"), "events"), (f"sum(waggle_http_listening_readers{{{JOB}}})", "readers")],
                    "short",
                    "None is needed: WAGGLE_EVENTS says which changes are published.",
                ),
            ],
        ),
        (
            "Security",
            [
                Panel(
                    "Failures to sign in",
                    [(rate("auth_failures_total"), "without a valid key")],
                    "reqps",
                    "One address: it is blocked after a while, `waggle blocks list`. A service with an old key needs the new one.",
                ),
                Panel(
                    "Over a quota",
                    [(rate("rate_limit_exceeded_total", "policy"), "{{policy}}")],
                    "reqps",
                    "Ask the client to slow down, or raise its limit: docs/security.md.",
                ),
                Panel(
                    "Connections refused",
                    [(rate("waggle_http_connections_refused_total", "limit"), "{{limit}}")],
                    "ops",
                    "`address`: one client opens too many; `all`: start another API.",
                ),
            ],
        ),
    ],
)

SERVERS: Final = Board(
    "waggle-servers",
    "Waggle: JetStream and Postgres",
    "Do the servers under Waggle answer, and what holds them back?",
    [
        (
            "Connected",
            [
                Panel(
                    "Postgres answers",
                    [
                        (f"min by (service) (waggle_postgres_connected{{{JOB}}})", "{{service}}"),
                        (f"max by (service) (waggle_postgres_stale{{{JOB}}})", "{{service}} stays away from an old primary"),
                    ],
                    "bool",
                    "0: start Postgres or repair the network. Nothing is lost.",
                ),
                Panel(
                    "NATS connected",
                    [
                        (f"min by (service) (waggle_nats_connected{{{JOB}}})", "{{service}}"),
                        (f"max by (service) (waggle_nats_not_storing{{{JOB}}})", "{{service}}: it stores nothing"),
                    ],
                    "bool",
                    "0: start NATS. Stores nothing: no leader, or its disk is full. Tasks are accepted and wait.",
                ),
                Panel(
                    "Failing loops",
                    [(rate("waggle_loop_failures_total", "service, loop"), "{{service}} {{loop}}")],
                    "ops",
                    "The log line `outage, waiting` says why. All of them: a server is away.",
                ),
                Panel(
                    "Log lines dropped",
                    [(rate("waggle_log_lines_dropped_total", "service"), "{{service}}")],
                    "ops",
                    "Nobody reads the output of the service, its disk is full, or it is slower than the log.",
                ),
                Panel(
                    "Spans dropped",
                    [(rate("waggle_spans_dropped_total", "service"), "{{service}}")],
                    "ops",
                    "They did not reach the collector: lower WAGGLE_TRACE_RATIO, or see the log line `traces are not sent`.",
                ),
            ],
        ),
        (
            "Postgres",
            [
                Panel(
                    "Statements, 99 of 100",
                    [(f"topk(10, {quantile(0.99, 'waggle_statement_duration_seconds', 'statement')})", "{{statement}}")],
                    "s",
                    "All slow: disk, CPU, or an old transaction. One slow: `waggle doctor`, and EXPLAIN it.",
                ),
                Panel(
                    "Oldest transaction",
                    [(f"max(waggle_postgres_oldest_transaction_seconds{{{JOB}}})", "seconds")],
                    "s",
                    "`waggle doctor` names it: end it. Every look gets slower as long as it lives.",
                    bad=300,
                ),
                Panel(
                    "Oldest replication slot",
                    [(f"max(waggle_postgres_slot_transactions{{{JOB}}})", "transactions")],
                    "short",
                    "Grows: nobody reads the slot. Drop it: pg_drop_replication_slot.",
                ),
                Panel(
                    "Rows",
                    [(top("waggle_postgres_live_rows", "table"), "{{table}} live"), (top("waggle_postgres_dead_rows", "table"), "{{table}} dead")],
                    "short",
                    "Dead many times the live: autovacuum is off or too slow, or an old transaction holds them.",
                ),
                Panel(
                    "Size of the database",
                    [(f"max(waggle_postgres_database_bytes{{{JOB}}})", "database")],
                    "bytes",
                    "Grows without end: shorten WAGGLE_RETENTION, and see the rows.",
                ),
                Panel(
                    "Connections",
                    [(f"max(waggle_postgres_connections{{{JOB}}})", "in use"), (f"max(waggle_postgres_connections_most{{{JOB}}})", "at most")],
                    "short",
                    "Near the most: raise max_connections, or use a pooler (docs/postgres.md).",
                ),
            ],
        ),
        (
            "JetStream and disks",
            [
                Panel(
                    "Messages",
                    [(top("waggle_stream_messages", "stream"), "{{stream}}")],
                    "short",
                    "WAGGLE_WORK much larger than the tasks that wait: doorbells without tasks; they go as workers look at them.",
                ),
                Panel(
                    "Size of the streams",
                    [(top("waggle_stream_bytes", "stream"), "{{stream}}"), (f"{top('waggle_stream_limit_bytes', 'stream')} < Inf", "{{stream}} limit")],
                    "bytes",
                    "Near the limit: start workers, or raise WAGGLE_WORK_MAX_BYTES.",
                ),
                Panel(
                    "Disks",
                    [(top("waggle_disk_free_bytes", "folder"), "free for {{folder}}"), (top("waggle_disk_size_bytes", "folder"), "size for {{folder}}")],
                    "bytes",
                    "A full disk stops Postgres and JetStream. Free some, or enlarge it.",
                ),
            ],
        ),
    ],
)

TYPE: Final = Board(
    "waggle-type",
    "Waggle: one task type",
    "How does one type fare: how many, how long, what fails, what does it cost?",
    [
        (
            "The type",
            [
                Panel(
                    "Outcomes",
                    [(rate("waggle_attempts_total", "outcome", OF_TYPE), "{{outcome}}")],
                    "ops",
                    "`snoozed` waits without cost; many failed: its dead letters, its traces.",
                    link=TO_TRACES,
                ),
                Panel(
                    "Failing tries",
                    [(ratio(rate("waggle_attempts_total", "type", FAILED + OF_TYPE), rate("waggle_attempts_total", "type", TRIED + OF_TYPE)), "{{type}}")],
                    "percentunit",
                    "The share of tries that fail.",
                    bad=0.05,
                    link=TO_TRACES,
                ),
                Panel(
                    "Time of the handler",
                    [
                        (quantile(0.5, "task_processing_duration", "type", OF_TYPE), "{{type}} half"),
                        (quantile(0.99, "task_processing_duration", "type", OF_TYPE), "{{type}} 99 of 100"),
                    ],
                    "s",
                    "Near its timeout: make it quicker or the timeout longer. The points are exemplars: they lead to traces.",
                    link=TO_TRACES,
                ),
                Panel(
                    "Handler seconds a second",
                    [(rate("task_processing_duration_sum", "type", OF_TYPE), "{{type}}")],
                    "s",
                    "Its cost: how many slots it keeps busy.",
                ),
                Panel(
                    "Submitted",
                    [(rate("waggle_tasks_submitted_total", "type", OF_TYPE), "{{type}}")],
                    "ops",
                    "The demand for it. A jump has a submitter: `waggle tasks list --type TYPE`.",
                ),
                Panel(
                    "Dead letters",
                    [(f"max by (type, code) (waggle_dlq_letters{{{JOB}{OF_TYPE}}})", "{{type}} {{code}}")],
                    "short",
                    "`waggle dlq list --type TYPE`, then `waggle dlq retry`.",
                    link=TO_DEAD,
                ),
            ],
        ),
    ],
    [("type", "Type", "label_values(waggle_attempts_total, type)")],
)

BOARDS: Final = (OVERVIEW, QUEUES, WORKERS, DEAD, API, SERVERS, TYPE)


def written(board: Board) -> str:
    """The file of a dashboard."""
    return json.dumps(rendered(board), indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """docs/dashboards.md."""
    lines = [
        "<!-- Made from deploy/grafana/boards.py by `uv run just dashboards`. A test holds this page to it. -->",
        "",
        "# Dashboards",
        "",
        "Seven Grafana dashboards are in `deploy/grafana/dashboards/`, with the files that provision them beside it. They ask",
        "Prometheus only; [metrics.md](metrics.md) explains the metrics. Links lead from a type to its dead letters and traces.",
        "To see them, point a Prometheus at `.waggle/prometheus.yml` of a running `waggle up`, and a Grafana at that",
        "Prometheus; `deploy/compose.yaml` starts both. The variable `job` is the name of the scrape job.",
    ]
    for board in BOARDS:
        lines += ["", f"## {board.title}", "", textwrap.fill(board.answers, DOC_WIDTH), "", "| panel | unit | when it looks bad |", "| --- | --- | --- |"]
        lines += [f"| {panel.title} | {panel.unit} | {panel.advice} |" for _, row in board.rows for panel in row]
    return "\n".join(lines) + "\n"


def main() -> None:
    for board in BOARDS:
        (HERE / "dashboards" / f"{board.uid}.json").write_text(written(board))
    DOCS.write_text(page())


if __name__ == "__main__":
    main()
