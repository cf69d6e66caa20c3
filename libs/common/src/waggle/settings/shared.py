"""The settings that every service and the direct commands of the command line read, and what their values may be."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waggle.failpoint import PATTERN as FAILPOINT

SECRET: Final[dict[str, Any]] = {"secret": True}
"""`extra` of a field that holds a secret: it may come from a file, and no message shows it."""

CENTURY: Final = 100 * 365 * 86_400.0  # seconds; Postgres cannot add much more to a time

DEFAULT_SCHEMA: Final = "waggle"

# 48 characters: the channel of notifications is named after it, and Postgres cuts names at 63
Schema = Annotated[str, Meta(pattern=r"^(?!pg_|information_schema$)[a-z_][a-z0-9_]*$", max_length=48)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$", max_length=260)]
HeaderField = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+=.+$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=CENTURY)]


class SettingsError(Exception):
    """The settings are not valid. The message has one line per finding and shows no secret."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Shared settings. A field is the variable `WAGGLE_<FIELD>` and the key `<field>` of the TOML file. What needs only these takes this struct."""

    postgres_url: Annotated[str, Meta(description="Postgres, postgresql://user:password@host:port/database", extra=SECRET, min_length=1)]
    nats_url: Annotated[str, Meta(description="NATS, nats://host:port; separate several with commas", extra=SECRET, min_length=1)]
    nats_creds: Annotated[str, Meta(description="a file of credentials for NATS, as nsc writes it: the user's JWT and seed")] = ""
    nats_nkey: Annotated[str, Meta(description="the seed of the nkey with which this signs in to NATS, SU…", extra=SECRET)] = ""
    nats_tls_ca: Annotated[str, Meta(description="a PEM file with the authority that signed the certificate of NATS; empty: those of the system")] = ""
    nats_tls_cert: Annotated[str, Meta(description="a PEM file with the certificate that this shows to NATS")] = ""
    nats_tls_key: Annotated[str, Meta(description="the PEM file with its private key, without a passphrase")] = ""
    postgres_schema: Annotated[
        Schema, Meta(description="the Postgres schema of Waggle's tables", extra={"form": "lower-case letters, digits and _, not starting with a digit or pg_"})
    ] = DEFAULT_SCHEMA
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least severe log lines to write")] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="json for machines, console for people")] = "json"
    ready_file: Annotated[str, Meta(description="a file that the service writes once it is ready and removes when it stops")] = ""
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="an OpenTelemetry collector that takes OTLP over HTTP, for traces, metrics and exceptions; empty: none",
            pattern=r"^(https?://[^ /]+(/[^ ]*)?)?$",
            extra={"form": "http://host:4318"},
        ),
    ] = ""
    otlp_headers: Annotated[
        tuple[HeaderField, ...], Meta(description="headers for the collector, such as those with its key", extra={**SECRET, "form": "list of name=value"})
    ] = ()
    otlp_metrics_interval: Annotated[float, Meta(description="seconds between two times that metrics are sent to the collector; 0: never", ge=0, le=86_400)] = (
        60.0
    )
    trace_ratio: Annotated[
        float, Meta(description="the share of traces that are recorded, of those that begin here; failed tries are recorded in any case", ge=0, le=1)
    ] = 0.01
    events: Annotated[
        Literal["off", "final", "all"],
        Meta(description="which changes of tasks are published to waggle.event.>: those to completed, failed, cancelled and dead_letter, or all"),
    ] = "final"
    events_format: Annotated[Literal["plain", "cloudevents"], Meta(description="how they are written")] = "plain"
    grace: Annotated[float, Meta(description="seconds that running work gets to finish when the service stops", ge=0, le=86_400)] = 25.0
    failpoint: Annotated[
        str,
        Meta(
            description="for tests only: ends the process (or stops it, with :stop) when it passes that place in the code for the nth time",
            pattern=FAILPOINT,
            extra={"form": "place:n or place:n:stop"},
        ),
    ] = ""
