"""The parameters of an address of Postgres, by libpq's names, and the variables of libpq that stand for them (docs/postgres.md).

Each one works, or is refused by its name: no service may wait for a server that refuses a parameter.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from waggle.settings.shared import SettingsError

MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TARGETS: Final = {"any": False, "read-write": True, "primary": True}  # whether one server alone must be the primary
KEEPALIVES: Final = ("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")

# What asyncpg reads from the address itself, and from libpq's variables.
_TLS: Final = ("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version")
_DRIVERS: Final = ("user", "password", "dbname", "database", "krbsrvname", "gsslib", "service", "options", *_TLS)
# What Waggle does, and the variables of libpq for it. asyncpg would send these to the server, which refuses each connection for them.
_OURS: Final = ("host", "port", "target_session_attrs", "load_balance_hosts", "connect_timeout", "application_name", "passfile", *KEEPALIVES)
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "sslmode": MODES,
    "sslnegotiation": ("postgres", "direct"),
    "load_balance_hosts": ("disable", "random"),
    "keepalives": ("0", "1"),
}
# Parameters of which these values ask for what happens anyway. Another value asks for what asyncpg cannot do.
_ANYWAY: Final[dict[str, tuple[str, ...]]] = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8"),
    "gssdelegation": ("0",),
    "gssencmode": ("disable", "prefer"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
_VARIABLES: Final = {
    "PGAPPNAME": "application_name",
    "PGCHANNELBINDING": "channel_binding",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGGSSDELEGATION": "gssdelegation",
    "PGGSSENCMODE": "gssencmode",
    "PGHOSTADDR": "hostaddr",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
    "PGOPTIONS": "options",
    "PGREQUIREAUTH": "require_auth",
    "PGREQUIREPEER": "requirepeer",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLCOMPRESSION": "sslcompression",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLSNI": "sslsni",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}
_READ_BY_DRIVER: Final = ("PGSSLMODE", "PGSSLNEGOTIATION")  # checked here, and left to asyncpg
_NAME: Final = re.compile(r"[a-z_]+")
_UNSUPPORTED: Final = re.compile(
    "fallback_application_name|hostaddr|(min|max)_protocol_version|oauth_.*|replication|require(_auth|peer|ssl)|scram_.*|servicefile|ssl(crldir|keylogfile)"
)


_MOST: Final = {"keepalives_idle": 32_767, "keepalives_interval": 32_767, "keepalives_count": 127}  # what Linux takes (tcp.h)


class Parameters(NamedTuple):
    """`own`: what Waggle does. `drivers`: what is left in the address for asyncpg, in its order."""

    own: dict[str, str]
    drivers: list[tuple[str, str]]


def read_parameters(query: str, setting: str, environ: Mapping[str, str]) -> Parameters:
    """Those of an address, then those of the environment. Raises SettingsError with the name of one that cannot be used, ValueError for no query at all."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if "@" in query and not all(_NAME.fullmatch(name) for name, _ in pairs):
        raise ValueError  # the rest of a password with a ?, which no message shows
    named = {name for name, value in pairs if value}
    own: dict[str, str] = {}
    drivers: list[tuple[str, str]] = []
    for name, value in pairs:
        _check(name, value, f"{setting}: ")
        if value:  # without one it stands for the default
            _sort(name, value, own, drivers)
    for variable, name in _VARIABLES.items():
        value = environ.get(variable, "")
        if value and name not in named:
            _check(name, value, "", variable)
            if variable not in _READ_BY_DRIVER:
                _sort(name, value, own, drivers)
    return Parameters(own, drivers)


def _sort(name: str, value: str, own: dict[str, str], drivers: list[tuple[str, str]]) -> None:
    if name in _OURS:
        own[name] = value
    elif name in _DRIVERS:
        drivers.append((name, value))


def _check(name: str, value: str, setting: str, variable: str = "") -> None:
    """Raises SettingsError. Unknown values of secrets are not looked at, so that no message shows them."""
    given = variable or name
    if name not in _DRIVERS and name not in _OURS and name not in _ANYWAY and not _UNSUPPORTED.fullmatch(name):
        raise SettingsError(f"{setting}{name} is not a parameter of Postgres' addresses{_hint(name)}")
    if _UNSUPPORTED.fullmatch(name):
        raise SettingsError(f"{setting}the {'variable' if variable else 'parameter'} {given} is not supported, remove it")
    if not value:
        return
    if name in _ANYWAY and value not in _ANYWAY[name]:
        raise SettingsError(f"{setting}{given}={value} cannot be used: Waggle's driver cannot do that, {' or '.join(_ANYWAY[name])} works")
    if name in _VALUES and value not in _VALUES[name]:
        raise SettingsError(f"{setting}{given}={value} cannot be used: it is {' or '.join(_VALUES[name])}")
    if name == "target_session_attrs" and value not in TARGETS:
        raise SettingsError(f"{setting}{given}={value} cannot be used: Waggle needs the server that takes writes, read-write")
    if name in KEEPALIVES and not (value.isdecimal() and int(value) <= _MOST.get(name, (1 << 31) - 1)):
        raise SettingsError(f"{setting}{given}={value} cannot be used: it is a whole number up to {_MOST.get(name, (1 << 31) - 1)}")


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, [*_DRIVERS, *_OURS, *_ANYWAY], n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else f", remove it; a setting of the server goes into options: options=-c%20{name}%3Dvalue"
