"""A struct of settings for each service: what it reads besides the shared ones. `docs/settings.md` is made from these declarations by `just docs`."""

import ipaddress
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from waggle.settings.kinds import REFERENCE_FORM, REFERENCE_PATTERN
from waggle.settings.shared import CENTURY, SECRET, HostName, Name, Port, Seconds, Settings, SettingsError

NAMES: Final = "list of names: lower-case letters, digits, _ and -, starting with a letter"

# Settings that several services read; their defaults are repeated where they are fields, and a test holds them equal.
MetricsHost = Annotated[str, Meta(description="where worker, dlq and scheduler serve /metrics, /livez and /readyz")]
MetricsPort = Annotated[Port, Meta(description="the port of those pages; 0 takes a free one and logs it")]
ApiHost = Annotated[str, Meta(description="the address that the API listens on")]
ApiPort = Annotated[Port, Meta(description="the port that the API listens on; 0 takes a free one and logs it")]
Origin = Annotated[str, Meta(pattern=r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$", max_length=260)]
GroupRole = Annotated[str, Meta(pattern=r"^[^=]+=(viewer|operator|admin)$", max_length=260)]
Quota = Annotated[int, Meta(ge=0, le=1_000_000_000)]
ApiAuth = Annotated[
    Literal["required", "none"], Meta(description="none: every caller may do everything, and the API listens on this machine's own addresses only")
]
ApiSecret = Annotated[
    str,
    Meta(
        description="what API keys are stored under: 32 characters or more, the same for every API; another one makes all keys void",
        min_length=32,
        extra=SECRET,
    ),
]
AppReference = Annotated[
    str, Meta(description="your handlers; empty: only the built-in ones", pattern=rf"^({REFERENCE_PATTERN})?$", extra={"form": REFERENCE_FORM})
]
WorkMaxBytes = Annotated[int, Meta(description="bytes of disk that all doorbells take at most", ge=1024, le=1 << 50)]
Processes = Annotated[int, Meta(description="worker processes that one command runs; 0: one, and under `waggle up` one per core except two", ge=0, le=1_000)]
Lease = Annotated[
    float, Meta(description="seconds that a worker counts as alive after its last heartbeat; it sends three heartbeats in that time", ge=1, le=3600)
]


class DirectSettings(Settings, frozen=True, kw_only=True):
    """What a connection to Postgres without a pooler needs."""

    postgres_direct_url: Annotated[str, Meta(description="Postgres itself, where postgres_url is a pooler; for `waggle migrate`", extra=SECRET)] = ""


SubmitMaxBytes = Annotated[
    int, Meta(description="bytes that the stream WAGGLE_SUBMIT may take: what publishers handed over while Postgres is away", ge=1 << 20, le=1 << 44)
]
RejectedMaxBytes = Annotated[
    int, Meta(description="bytes that the stream WAGGLE_REJECTED may take: the oldest submissions that were not accepted go first", ge=1 << 20, le=1 << 44)
]


EventsMaxBytes = Annotated[
    int, Meta(description="bytes that the stream WAGGLE_EVENTS may take: the oldest events go first, and all after a day", ge=1 << 20, le=1 << 44)
]


class TopologySettings(DirectSettings, frozen=True, kw_only=True):
    """What creating the streams needs."""

    nats_replicas: Annotated[int, Meta(description="replicas of the JetStream streams: 1, or 3 on a cluster", ge=1, le=5)] = 1
    lane_limit: Annotated[int, Meta(description="doorbells that one lane holds at most", ge=1, le=1_000_000_000)] = 1_000_000
    work_max_bytes: WorkMaxBytes = 1 << 30
    submit_max_bytes: SubmitMaxBytes = 512 << 20
    rejected_max_bytes: RejectedMaxBytes = 128 << 20
    events_max_bytes: EventsMaxBytes = 256 << 20


CallbackSecrets = Annotated[
    tuple[str, ...],
    Meta(
        description="signs what is sent to a task's callback_url, as Standard Webhooks: one whsec_… or several, while they are replaced; empty: no callbacks",
        extra={**SECRET, "form": "list of whsec_…"},
    ),
]


class ApiSettings(Settings, frozen=True, kw_only=True):
    """Settings of the API."""

    api_host: ApiHost = "127.0.0.1"
    api_port: ApiPort = 8420
    api_hosts: Annotated[
        tuple[HostName, ...],
        Meta(
            description="names under which clients reach the API, besides addresses, localhost and its machine's name; requests to others are refused",
            extra={"form": "list of host names, each with or without a port"},
        ),
    ] = ()
    api_origins: Annotated[
        tuple[Origin, ...],
        Meta(
            description="web pages of other origins that may use the API, with an API key or token of their own",
            extra={"form": "list of origins, such as https://console.example.com"},
        ),
    ] = ()
    api_auth: ApiAuth = "required"
    api_secret: ApiSecret = ""
    api_issuer: Annotated[str, Meta(description="who issues access tokens, as their claim `iss` says", min_length=1, max_length=200)] = "waggle"
    api_signing: Annotated[
        Literal["Ed25519", "HS256"],
        Meta(description="how access tokens are signed; the public keys of Ed25519 are at /.well-known/jwks.json"),
    ] = "Ed25519"
    oidc_issuer: Annotated[str, Meta(description="the identity provider (OpenID Connect) at which users may sign in; empty: none")] = ""
    oidc_client_id: Annotated[str, Meta(description="the name of this Waggle at the provider")] = ""
    oidc_client_secret: Annotated[str, Meta(description="its secret there", extra=SECRET)] = ""
    oidc_callback: Annotated[
        str, Meta(description="where the provider sends users back: the address of the API that browsers use, with /api/auth/oidc/callback")
    ] = ""
    oidc_scopes: Annotated[tuple[str, ...], Meta(description="what the provider is asked for", extra={"form": "list of scopes"})] = (
        "openid",
        "profile",
        "email",
    )
    oidc_groups_claim: Annotated[str, Meta(description="the claim with the groups of a user")] = "groups"
    oidc_roles: Annotated[
        tuple[GroupRole, ...],
        Meta(description="the groups that may come in, and their roles; nobody else may", extra={"form": "list such as waggle-admins=admin,ops=operator"}),
    ] = ()
    api_proxies: Annotated[int, Meta(description="proxies of your own in front of the API, each of which adds an address to X-Forwarded-For", ge=0, le=10)] = 0
    api_block_failures: Annotated[
        int, Meta(description="failures to sign in, or keys that are none, of one address within 5 minutes that block it; 0: never", ge=0, le=10_000)
    ] = 20
    api_block_seconds: Annotated[float, Meta(description="seconds that an address stays blocked", gt=0, le=CENTURY)] = 900.0
    api_rate_requests: Annotated[Quota, Meta(description="requests that one API key or user may send in a minute, to all APIs; 0: no limit")] = 0
    api_rate_tasks: Annotated[Quota, Meta(description="tasks in batches that one API key or user may create in a minute; 0: no limit")] = 0
    api_rate_logins: Annotated[Quota, Meta(description="tries to sign in that one address has in a minute, and as many refreshes; 0: no limit")] = 60
    api_tls_cert: Annotated[
        str, Meta(description="a PEM file with the certificate of the API and those that lead to its root: the API then speaks TLS only")
    ] = ""
    api_tls_key: Annotated[str, Meta(description="the PEM file with its private key, without a passphrase")] = ""
    api_probes_port: Annotated[
        Port | None, Meta(description="serve /health, /livez, /readyz and /metrics on this port of their own, without TLS, and not on the API's")
    ] = None
    api_probes_host: Annotated[str, Meta(description="the address of that port")] = "127.0.0.1"
    api_connections: Annotated[int, Meta(description="connections that one API process holds at most", ge=1, le=1_000_000)] = 8192
    api_connections_each: Annotated[
        int, Meta(description="connections of one address that one API process holds at most; behind a proxy all have its address", ge=1, le=1_000_000)
    ] = 2048
    trace_url: Annotated[
        str,
        Meta(
            description="where your trace viewer shows a trace; tasks then have a `trace_url`",
            pattern=r"^(https?://.*\{trace_id\}.*)?$",
            extra={"form": "address with {trace_id}"},
        ),
    ] = ""
    callback_secrets: CallbackSecrets = ()
    unknown_types: Annotated[Literal["refuse", "accept"], Meta(description="what the API does with a task type that no worker has announced")] = "refuse"


AlertUrl = Annotated[
    str, Meta(description="the webhook that schedulers tell of alerts, and workers tell again; empty: none", pattern=r"^(https?://[^ ]+)?$", extra=SECRET)
]
AlertSecret = Annotated[
    str, Meta(description="signs the messages, as Standard Webhooks: whsec_ and 24 to 64 bytes in base64", extra={**SECRET, "form": "whsec_…"})
]


class WorkerSettings(Settings, frozen=True, kw_only=True):
    """Settings of a worker."""

    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    app: AppReference = ""
    queues: Annotated[
        tuple[Name, ...], Meta(description="the queues that a worker serves; empty: default and those of its handlers", extra={"form": NAMES})
    ] = ()
    concurrency: Annotated[int, Meta(description="tasks that one worker process runs at the same time", ge=1, le=10_000)] = 100
    processes: Processes = 0
    handler_processes: Annotated[
        int, Meta(description="process=True handlers that one worker process runs at the same time; 0: its share of the cores", ge=0, le=1_000)
    ] = 0
    handler_process_max_tasks: Annotated[
        int, Meta(description="tasks after which the process of process=True handlers ends and a new one takes its place; 0: no limit", ge=0, le=1_000_000_000)
    ] = 0
    handler_process_max_memory: Annotated[
        int, Meta(description="bytes in RAM from which on such a process ends after its task and a new one takes its place; 0: no limit", ge=0, le=1 << 50)
    ] = 0
    lease: Lease = 15.0
    lease_token: Annotated[
        str,
        Meta(
            description="names the leases of one worker process; set by the parent process, which ends them when the process dies",
            pattern="^([0-9a-f]{16})?$",
            extra={"form": "16 hexadecimal digits"},
        ),
    ] = ""
    attempt_log_lines: Annotated[
        int, Meta(description="lines of ctx.log that are kept with each attempt, see `waggle tasks logs`; 0: none", ge=0, le=10_000)
    ] = 100
    attempt_log_bytes: Annotated[int, Meta(description="bytes that these lines have together, at most", ge=1, le=1 << 20)] = 16_384
    breaker_threshold: Annotated[int, Meta(description="failures in a row that open a circuit breaker", ge=1, le=10_000)] = 5
    breaker_reset: Annotated[
        float, Meta(description="seconds that a circuit breaker stays open before one call may probe; each failed probe doubles them", gt=0, le=86_400)
    ] = 30.0
    breaker_reset_max: Annotated[float, Meta(description="seconds that a circuit breaker stays open at most", gt=0, le=86_400)] = 300.0
    breaker_release_rate: Annotated[
        float, Meta(description="tasks per second that return to one worker after they waited for a circuit breaker", gt=0, le=100_000)
    ] = 50.0
    http_allow: Annotated[
        tuple[str, ...], Meta(description="private networks, addresses and hosts that http.request may call, such as 10.0.0.0/8,localhost:8080")
    ] = ()
    alert_url: AlertUrl = ""
    alert_secret: AlertSecret = ""
    callback_secrets: CallbackSecrets = ()
    http_body_limit: Annotated[int, Meta(description="bytes of a response body that http.request keeps", ge=0, le=900_000)] = 262_144


class DlqSettings(Settings, frozen=True, kw_only=True):
    """Settings of the dlq service."""

    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    dlq_max_size: Annotated[int, Meta(description="dead letters kept at most; beyond that the oldest become failed", ge=0)] = 100_000
    dlq_retention_period_ms: Annotated[
        int, Meta(description="milliseconds that a dead letter is kept before it becomes failed", ge=1, le=int(CENTURY) * 1000)
    ] = 30 * 86_400_000
    dlq_cleanup_interval: Annotated[Seconds, Meta(description="seconds between two cleanups of the dead letter queue")] = 60.0
    dlq_retry_limit: Annotated[int, Meta(description="automatic retries of a dead letter whose error is retryable; 0: none", ge=0, le=1_000)] = 0
    dlq_backoff_ms: Annotated[
        int, Meta(description="milliseconds before the first automatic retry of a dead letter; each further retry doubles them", ge=1, le=86_400_000)
    ] = 60_000
    dlq_redrive_rate: Annotated[
        float,
        Meta(description="dead letters retried per second: by a bulk retry that names no rate, and automatically by each dlq service", ge=0.001, le=10_000),
    ] = 100.0


class SchedulerSettings(TopologySettings, frozen=True, kw_only=True):
    """Settings of the scheduler."""

    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    lease: Lease = 15.0
    alert_url: AlertUrl = ""
    alert_secret: AlertSecret = ""
    alert_interval: Annotated[Seconds, Meta(description="seconds between two looks for alerts")] = 10.0
    alert_wait: Annotated[Seconds, Meta(description="seconds that a queue's first task is due before an alert")] = 300.0
    alert_error_rate: Annotated[float, Meta(description="the share of failing tries in ten minutes above which an alert fires", ge=0, le=1)] = 0.2
    alert_dead_letters: Annotated[int, Meta(description="dead letters within half an hour above which an alert fires", ge=0)] = 100
    disks: Annotated[
        tuple[str, ...], Meta(description="folders whose disks the metrics show, such as those of Postgres and NATS", extra={"form": "list of folders"})
    ] = ()
    retention: Annotated[Seconds, Meta(description="seconds that finished tasks are kept")] = 7 * 86400.0
    retention_completed: Annotated[Seconds | None, Meta(description="seconds that completed tasks are kept; if not set, as retention")] = None
    retention_failed: Annotated[Seconds | None, Meta(description="seconds that failed tasks are kept; if not set, as retention")] = None
    retention_cancelled: Annotated[Seconds | None, Meta(description="seconds that cancelled tasks are kept; if not set, as retention")] = None


class CommandLineSettings(TopologySettings, frozen=True, kw_only=True):
    """Settings of the commands: those that speak to the API read `url` alone; migrate, doctor and audit reach the servers themselves."""

    lease: Lease = 15.0
    api_secret: ApiSecret = ""
    api_key: Annotated[str, Meta(description="the API key of the command line; empty: that of the `waggle up` of this folder", extra=SECRET)] = ""
    url: Annotated[str, Meta(description="the API that the command line talks to, http://host:port; empty: that of the `waggle up` of this folder")] = ""


class UpSettings(Settings, frozen=True, kw_only=True):
    """Settings that `waggle up` reads itself; its services read theirs from the same environment."""

    api_host: ApiHost = "127.0.0.1"
    api_port: ApiPort = 8420
    api_auth: ApiAuth = "required"
    api_secret: ApiSecret = ""
    app: AppReference = ""
    processes: Processes = 0
    work_max_bytes: WorkMaxBytes = 1 << 30


READERS: Final[dict[str, type[Settings]]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "dlq": DlqSettings,
    "scheduler": SchedulerSettings,
    "command line": CommandLineSettings,
    "up": UpSettings,
}


def declared() -> dict[str, FieldInfo]:
    """Every setting of Waggle by its name: the shared ones first, then service by service."""
    found: dict[str, FieldInfo] = {}
    kinds: list[type[Settings]] = [Settings, *READERS.values()]
    for kind in kinds:
        for field in msgspec.structs.fields(kind):
            found.setdefault(field.name, field)
    return found


def readers(name: str) -> list[str]:
    """The programs that read a setting."""
    return [reader for reader, kind in READERS.items() if name in kind.__struct_fields__]


def check_auth(settings: ApiSettings | UpSettings) -> None:
    """An API that asks nobody for a key must not be reached from other machines; one that asks needs a secret (`waggle up` makes one up).

    Raises SettingsError.
    """
    if settings.api_auth == "none" and not _is_loopback(settings.api_host):
        raise SettingsError(
            f"WAGGLE_API_AUTH=none lets every caller do everything, and WAGGLE_API_HOST={settings.api_host} can be reached from other machines:"
            " listen on 127.0.0.1, or require API keys"
        )
    if settings.api_auth == "required" and isinstance(settings, ApiSettings) and not settings.api_secret:
        raise SettingsError(
            "WAGGLE_API_SECRET is missing: API keys are stored under it. `openssl rand -base64 32` makes one; give the same one to every API."
            " WAGGLE_API_AUTH=none does without keys, on a machine of your own"
        )


def check_provider(settings: ApiSettings) -> None:
    """Raises SettingsError if an identity provider is named, and what it needs is not."""
    needed = {"oidc_client_id": settings.oidc_client_id, "oidc_callback": settings.oidc_callback, "oidc_roles": settings.oidc_roles}
    missing = [f"WAGGLE_{name.upper()}" for name, value in needed.items() if not value]
    if settings.oidc_issuer and missing:
        raise SettingsError(f"WAGGLE_OIDC_ISSUER needs {' and '.join(missing)}")


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
