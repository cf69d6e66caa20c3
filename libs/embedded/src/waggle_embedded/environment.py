"""What `waggle up` reads from its environment, and what its services get."""

import os
from typing import Final

import msgspec

from waggle.bus.access import access
from waggle.machine import cores
from waggle.settings.environment import read
from waggle.settings.services import UpSettings
from waggle.settings.shared import SettingsError
from waggle.settings.sources import PREFIX
from waggle.store.hosts import read_address
from waggle_embedded.placement import free_port

OURS: Final = ("READY_FILE", "METRICS_PORT", "LOG_FORMAT", "LEASE_TOKEN")  # variables that `waggle up` sets itself, for each service
SPARED_CORES: Final = 2  # for Postgres, NATS and the other services, if there are more
TLS_MODES: Final = ("require", "verify-ca", "verify-full")
NATS_ACCESS: Final = ("nats_creds", "nats_nkey", "nats_tls_ca", "nats_tls_cert", "nats_tls_key")
EMBEDDED: Final = "embedded"  # stands for the address of an embedded server


def for_services(port: int | None, app: str, processes: int | None, *, no_auth: bool = False) -> tuple[dict[str, str], UpSettings]:
    """The environment of the services, without their own ports and files, and our own settings. Raises SettingsError.

    An address that the user gives, in a variable, in a secret's file or in the TOML file, reaches the services as a variable, like those of embedded servers.
    """
    environ = {name: value for name, value in os.environ.items() if name not in {PREFIX + ours for ours in OURS}}
    options = {"APP": app or None, "PROCESSES": processes, "API_PORT": port, "API_AUTH": "none" if no_auth else None}
    environ |= {PREFIX + name: str(value) for name, value in options.items() if value is not None}
    environ = {name: value for name, value in environ.items() if value or name not in ("WAGGLE_POSTGRES_URL", "WAGGLE_NATS_URL")}
    settings = read(UpSettings, environ, otherwise=dict.fromkeys(("postgres_url", "nats_url"), EMBEDDED))
    _check_postgres(settings.postgres_url)
    _check_nats(settings)
    for name, url in (("WAGGLE_POSTGRES_URL", settings.postgres_url), ("WAGGLE_NATS_URL", settings.nats_url)):
        environ.pop(f"{name}_FILE", None)
        if url != EMBEDDED:
            environ[name] = url
    settings = msgspec.structs.replace(settings, api_port=settings.api_port or free_port(), processes=settings.processes or max(1, cores() - SPARED_CORES))
    environ["WAGGLE_API_PORT"] = str(settings.api_port)
    environ["WAGGLE_PROCESSES"] = str(settings.processes)
    return environ, settings


def _check_postgres(url: str) -> None:
    """Raises SettingsError for what no service could use."""
    if url != EMBEDDED:
        read_address(url)
    elif (mode := os.environ.get("PGSSLMODE", "")) in TLS_MODES:
        raise SettingsError(f"PGSSLMODE={mode} asks for TLS, which the Postgres that `waggle up` starts has not: unset it, or set WAGGLE_POSTGRES_URL")


def _check_nats(settings: UpSettings) -> None:
    """Raises SettingsError for what no service could use."""
    if settings.nats_url != EMBEDDED:
        access(settings)
        return
    given = [f"{PREFIX}{name.upper()}" for name in NATS_ACCESS if getattr(settings, name)]
    if given:
        raise SettingsError(f"{', '.join(given)}: for a NATS server of your own, set WAGGLE_NATS_URL too; the one that `waggle up` starts has its own users")
