"""The settings: one frozen table. `docs/settings.md` is made from it by `just docs`."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from waggle.failpoint import PATTERN as FAILPOINT

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)]
Port = Annotated[int, Meta(ge=0, le=65535)]
CENTURY = 100 * 365 * 86_400.0  # seconds; Postgres cannot add much more to a time
Seconds = Annotated[float, Meta(gt=0, le=CENTURY)]

# Who reads a setting (`extra` of its field): it stands in docs/settings.md.
ALL: Final = {"read_by": "all"}
SECRET: Final = {"read_by": "all", "secret": True}
TOPOLOGY: Final = {"read_by": "scheduler, migrate"}
PAGE: Final = {"read_by": "worker, dlq, scheduler"}
API: Final = {"read_by": "api"}
WORKER: Final = {"read_by": "worker"}
DLQ: Final = {"read_by": "dlq"}
SCHEDULER: Final = {"read_by": "scheduler"}
CLI: Final = {"read_by": "command line"}
TESTS: Final = {"read_by": "api and scheduler, for tests only"}


class SettingsError(Exception):
    """The settings are not valid; the message has one line per finding and shows no secret."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable `WAGGLE_<FIELD>` and the key `<field>` of the TOML file; `extra` says who reads it, and whether it is a secret."""

    postgres_url: Annotated[str, Meta(description="postgresql://user:password@host:port/database", extra=SECRET, min_length=1)]
    nats_url: Annotated[str, Meta(description="nats://host:port, several separated by commas", extra=SECRET, min_length=1)]
    nats_replicas: Annotated[int, Meta(description="replicas of the JetStream streams: 1, or 3 on a cluster", extra=TOPOLOGY, ge=1, le=5)] = 1
    lane_limit: Annotated[int, Meta(description="doorbells that one lane holds at most", extra=TOPOLOGY, ge=1, le=1_000_000_000)] = 1_000_000
    work_max_bytes: Annotated[int, Meta(description="bytes of disk that all doorbells take at most", extra=TOPOLOGY, ge=1024, le=1 << 50)] = 1 << 30

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least important lines that are written", extra=ALL)] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="json for machines, console for people", extra=ALL)] = "json"
    metrics_host: Annotated[str, Meta(description="where worker, dlq and scheduler serve /metrics, /livez and /readyz", extra=PAGE)] = "127.0.0.1"
    metrics_port: Annotated[Port, Meta(description="the port of those pages; 0 takes a free one and logs it", extra=PAGE)] = 0
    ready_file: Annotated[str, Meta(description="a file that the service writes once it is ready and removes when it stops", extra=ALL)] = ""

    api_host: Annotated[str, Meta(description="the address that the API listens on", extra=API)] = "127.0.0.1"
    api_port: Annotated[Port, Meta(description="the port that the API listens on; 0 takes a free one and logs it", extra=API)] = 8420
    unknown_types: Annotated[Literal["refuse", "accept"], Meta(description="what the API does with a task type that no worker has announced", extra=API)] = (
        "refuse"
    )

    app: Annotated[
        str, Meta(description="the user's handlers, module:attribute; empty: only the built-in ones", extra=WORKER, pattern=r"^(\w[\w.]*:\w[\w.]*)?$")
    ] = ""
    queues: Annotated[tuple[Name, ...], Meta(description="the queues a worker serves; empty: default and those of its handlers", extra=WORKER)] = ()
    concurrency: Annotated[int, Meta(description="tasks that one worker process runs at once", extra=WORKER, ge=1, le=10_000)] = 100
    processes: Annotated[
        int, Meta(description="worker processes that one command runs; 0: one, and under `waggle up` one for each core but two", extra=WORKER, ge=0, le=1_000)
    ] = 0
    handler_processes: Annotated[
        int, Meta(description="process=True handlers that one worker process runs at once; 0: its share of the cores", extra=WORKER, ge=0, le=1_000)
    ] = 0
    grace: Annotated[float, Meta(description="seconds that a stopping service lets running work finish", extra=ALL, ge=0, le=86_400)] = 25.0
    lease: Annotated[
        float,
        Meta(
            description="seconds that a worker is believed alive after its last heartbeat; it beats three times as often",
            extra={"read_by": "worker, scheduler"},
            ge=1,
            le=3600,
        ),
    ] = 15.0

    breaker_threshold: Annotated[int, Meta(description="failures in a row that open a circuit breaker", extra=WORKER, ge=1, le=10_000)] = 5
    breaker_reset: Annotated[
        float,
        Meta(description="seconds that a circuit breaker stays open before one call may probe; doubled by each failed probe", extra=WORKER, gt=0, le=86_400),
    ] = 30.0
    breaker_reset_max: Annotated[float, Meta(description="seconds that a circuit breaker stays open at most", extra=WORKER, gt=0, le=86_400)] = 300.0
    breaker_release_rate: Annotated[
        float, Meta(description="tasks a second that come back to one worker after they waited for a circuit breaker", extra=WORKER, gt=0, le=100_000)
    ] = 50.0
    http_allow: Annotated[
        tuple[str, ...], Meta(description="private networks, addresses and hosts that http.request may call, such as 10.0.0.0/8,localhost:8080", extra=WORKER)
    ] = ()
    http_body_limit: Annotated[int, Meta(description="bytes of an answer's body that http.request keeps", extra=WORKER, ge=0, le=900_000)] = 262_144

    retention: Annotated[Seconds, Meta(description="seconds that finished tasks are kept", extra=SCHEDULER)] = 7 * 86400.0
    retention_completed: Annotated[Seconds | None, Meta(description="seconds that completed tasks are kept; not given: as retention", extra=SCHEDULER)] = None
    retention_failed: Annotated[Seconds | None, Meta(description="seconds that failed tasks are kept; not given: as retention", extra=SCHEDULER)] = None
    retention_cancelled: Annotated[Seconds | None, Meta(description="seconds that cancelled tasks are kept; not given: as retention", extra=SCHEDULER)] = None
    dlq_max_size: Annotated[int, Meta(description="dead letters kept at most; the oldest become failed", extra=DLQ, ge=0)] = 100_000
    dlq_retention_period_ms: Annotated[
        int, Meta(description="milliseconds that a dead letter is kept before it becomes failed", extra=DLQ, ge=1, le=int(CENTURY) * 1000)
    ] = 30 * 86_400_000
    dlq_cleanup_interval: Annotated[Seconds, Meta(description="seconds between two cleanups of the dlq service", extra=DLQ)] = 60.0
    dlq_retry_limit: Annotated[int, Meta(description="automatic retries of a dead letter whose error is retryable; 0: none", extra=DLQ, ge=0, le=1_000)] = 0
    dlq_backoff_ms: Annotated[
        int,
        Meta(
            description="milliseconds that a dead letter rests before its first automatic retry; doubled for each further one", extra=DLQ, ge=1, le=86_400_000
        ),
    ] = 60_000
    dlq_redrive_rate: Annotated[
        float,
        Meta(
            description="dead letters retried a second: by a bulk retry that names no rate, and automatically by each service", extra=DLQ, ge=0.001, le=10_000
        ),
    ] = 100.0

    url: Annotated[
        str, Meta(description="the API that the command line talks to, http://host:port; empty: that of the `waggle up` of this folder", extra=CLI)
    ] = ""

    failpoint: Annotated[
        str,
        Meta(
            description="ends the process (or stops it, with :stop) at a place in the code when it passes there for the nth time, place:n",
            extra=TESTS,
            pattern=FAILPOINT,
        ),
    ] = ""
