"""The settings of every service: one frozen table, read once from `WAGGLE_…` variables when a process starts.

An unknown, missing or out-of-range variable stops the process with a message that names it; all findings come at once.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PREFIX = "WAGGLE_"

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)]
Port = Annotated[int, Meta(ge=0, le=65535)]
CENTURY = 100 * 365 * 86_400.0  # seconds; Postgres cannot add much more to a time
Seconds = Annotated[float, Meta(gt=0, le=CENTURY)]


class SettingsError(Exception):
    """The environment is not a valid configuration; the message has one line per finding."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable `WAGGLE_<FIELD>`; lists are separated by commas, durations are in seconds unless the name says otherwise."""

    postgres_url: Annotated[str, Meta(description="postgresql://user:password@host:port/database", min_length=1)]
    nats_url: Annotated[str, Meta(description="nats://host:port, several separated by commas", min_length=1)]
    nats_replicas: Annotated[int, Meta(description="replicas of the JetStream streams: 1, or 3 on a cluster", ge=1, le=5)] = 1
    lane_limit: Annotated[int, Meta(description="doorbells that one lane holds at most", ge=1, le=1_000_000_000)] = 1_000_000
    work_max_bytes: Annotated[int, Meta(description="bytes of disk that all doorbells take at most", ge=1024, le=1 << 50)] = 1 << 30

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least important lines that are written")] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="json for machines, console for people")] = "json"
    metrics_host: Annotated[str, Meta(description="where worker, dlq and scheduler serve /metrics, /livez and /readyz")] = "127.0.0.1"
    metrics_port: Annotated[Port, Meta(description="its port; 0 takes a free one and logs it")] = 0
    ready_file: Annotated[str, Meta(description="a file that the service writes once it is ready and removes when it stops")] = ""

    api_host: Annotated[str, Meta(description="the address that the API listens on")] = "127.0.0.1"
    api_port: Annotated[Port, Meta(description="its port; 0 takes a free one and logs it")] = 8420
    unknown_types: Annotated[Literal["refuse", "accept"], Meta(description="what the API does with a task type that no worker has announced")] = "refuse"

    app: Annotated[str, Meta(description="the user's handlers, module:attribute; empty: only the built-in ones", pattern=r"^(\w[\w.]*:\w[\w.]*)?$")] = ""
    queues: Annotated[tuple[Name, ...], Meta(description="the queues a worker serves; empty: default and those of its handlers")] = ()
    concurrency: Annotated[int, Meta(description="tasks that one worker process runs at once", ge=1, le=10_000)] = 100
    grace: Annotated[float, Meta(description="how long a stopping service lets running work finish", ge=0, le=86_400)] = 25.0
    lease: Annotated[float, Meta(description="how long a worker is believed alive after its last heartbeat; it beats three times as often", ge=1, le=3600)] = (
        15.0
    )

    retention: Annotated[Seconds, Meta(description="how long finished tasks are kept")] = 7 * 86400.0
    dlq_max_size: Annotated[int, Meta(description="dead letters kept at most; the oldest become failed", ge=0)] = 100_000
    dlq_retention_period_ms: Annotated[
        int, Meta(description="how long a dead letter is kept before it becomes failed, in milliseconds", ge=1, le=int(CENTURY) * 1000)
    ] = 30 * 86_400_000
    dlq_cleanup_interval: Annotated[Seconds, Meta(description="how often the dlq service cleans up")] = 60.0

    url: Annotated[str, Meta(description="the API that the command line talks to")] = ""


def read(environ: Mapping[str, str]) -> Settings:
    """The settings of this process. Raises SettingsError with every finding."""
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    findings = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            findings.append(f"{variable} is not a setting" + (f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""))
            continue
        raw: object = tuple(part.strip() for part in text.split(",") if part.strip()) if name == "queues" else text
        try:
            values[name] = msgspec.convert(raw, fields[name].type, strict=False)
        except msgspec.ValidationError as error:
            findings.append(f"{variable}={text!r}: {error}")
    findings += [f"{PREFIX}{name.upper()} is missing" for name, field in fields.items() if field.required and name not in values and not _named(findings, name)]
    if findings:
        raise SettingsError("\n".join(findings))
    return Settings(**values)  # type: ignore[arg-type]  # each value was converted to its field's type above


def _named(findings: list[str], name: str) -> bool:
    return any(finding.startswith(f"{PREFIX}{name.upper()}=") for finding in findings)
