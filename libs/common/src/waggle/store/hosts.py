"""The address of Postgres as libpq reads it: one server, or several of which one is the primary (docs/high-availability.md)."""

import os
import random
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from waggle.settings.shared import SettingsError
from waggle.settings.sources import masked

HOST_SECONDS: Final = 2.0  # for one of several servers to answer; connect_timeout in the address changes it
LONGEST_HOST_SECONDS: Final = 60
DEFAULT_PORT: Final = "5432"

_TARGETS: Final = {"any": False, "read-write": True, "primary": True}  # whether one server alone must be the primary
_BALANCES: Final = ("disable", "random")
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\[\]:@/\s]+|/[^@\s]*)(?::(?P<port>\d*))?")

# Parameters of libpq that asyncpg does not know: it would send them to the server, which refuses each connection for them.
_UNSUPPORTED: Final = re.compile(
    "channel_binding|fallback_application_name|gss(delegation|encmode)|hostaddr|keepalives(_count|_idle|_interval)?|oauth_.*|replication"
    "|require(_auth|peer|ssl)|ssl(certmode|compression|crldir|sni)|tcp_user_timeout"
)


class Host(NamedTuple):
    """One server: `url` is the address without the others, `name` is for messages and holds no password."""

    url: str
    name: str


class PostgresAddress(NamedTuple):
    """The servers in the order in which they are tried. `primary`: the one that is used must take writes. `seconds`: for each to answer; None: the caller's."""

    hosts: tuple[Host, ...]
    primary: bool
    seconds: float | None


def read_address(url: str, setting: str = "WAGGLE_POSTGRES_URL", environ: Mapping[str, str] = os.environ) -> PostgresAddress:
    """The servers of an address. Raises SettingsError for an invalid one, which would otherwise look like an unavailable server; it shows no password."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise _invalid(url, setting) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _invalid(url, setting)
    own, others = _split(query, setting)
    who, at, netloc = parts.netloc.partition("@") if "@" in parts.netloc else ("", "", parts.netloc)
    named = netloc or own.get("host", "") or environ.get("PGHOST", "")
    if "," not in named:
        return _one(url, parts.path, who + at, netloc, query, own, setting)
    ports = own.get("port") or ("" if netloc else environ.get("PGPORT", ""))
    pairs = _pairs(named, "" if netloc else ports, setting)
    rest = f"{parts.path}?{urlencode(others)}" if others else parts.path
    found = [Host(f"{parts.scheme}://{who}{at}{_written(host)}:{port}{rest}", f"{host}:{port}") for host, port in pairs]
    if own.get("load_balance_hosts") == "random":
        random.shuffle(found)
    return PostgresAddress(tuple(found), True, _seconds(own, setting) or HOST_SECONDS)


def _one(url: str, path: str, who: str, netloc: str, query: Sequence[tuple[str, str]], own: Mapping[str, str], setting: str) -> PostgresAddress:
    """One server: everything but our own parameters stays as it was written, for asyncpg."""
    try:
        usable = urlsplit(url).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _invalid(url, setting)
    ours = {"target_session_attrs", "connect_timeout", "load_balance_hosts"} & own.keys()
    if ours:
        kept = [(name, value) for name, value in query if name not in ours]
        url = f"{url.partition('://')[0]}://{who}{netloc}{path}" + (f"?{urlencode(kept)}" if kept else "")
    return PostgresAddress((Host(url, netloc or own.get("host", "") or "localhost"),), _TARGETS[own.get("target_session_attrs", "any")], _seconds(own, setting))


def _split(query: Sequence[tuple[str, str]], setting: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What is read here, and what is left for asyncpg."""
    ours = ("host", "port", "target_session_attrs", "load_balance_hosts", "connect_timeout")
    own = {name: value for name, value in query if name in ours}
    for name, _ in query:
        if _UNSUPPORTED.fullmatch(name):
            raise SettingsError(f"{setting}: the parameter {name} is not supported, remove it")
    target, balance = own.get("target_session_attrs", "any"), own.get("load_balance_hosts", "disable")
    if target not in _TARGETS:
        raise SettingsError(f"{setting}: target_session_attrs={target} cannot be used: Waggle needs the server that takes writes, read-write")
    if balance not in _BALANCES:
        raise SettingsError(f"{setting}: load_balance_hosts={balance} cannot be used: it is {' or '.join(_BALANCES)}")
    return own, [(name, value) for name, value in query if name not in ours]


def _pairs(named: str, ports: str, setting: str) -> list[tuple[str, str]]:
    hosts = [_HOST.fullmatch(unquote(host.strip())) for host in named.split(",")]
    given = ports.split(",")
    if len(given) not in (1, len(hosts)):
        raise SettingsError(f"{setting}: port has {len(given)} values for {len(hosts)} hosts; give one, or one for each host")
    found = []
    for host, port in zip(hosts, given * len(hosts) if len(given) == 1 else given, strict=True):
        number = (host["port"] or port.strip() or DEFAULT_PORT) if host else ""
        if not host or not number.isdecimal() or not 0 < int(number) < 65536:
            raise SettingsError(f"{setting}: each of the hosts must be host:port, several separated by commas: host1:5432,host2:5432")
        found.append((host["host"], number))
    return found


def _written(host: str) -> str:
    """A host as part of an address; a folder of sockets is quoted."""
    return quote(host, safe="[]:%")


def _seconds(own: Mapping[str, str], setting: str) -> float | None:
    text = own.get("connect_timeout")
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) <= LONGEST_HOST_SECONDS:
        raise SettingsError(f"{setting}: connect_timeout={text} cannot be used: it is whole seconds from 1 to {LONGEST_HOST_SECONDS}, for each host")
    return float(text)


def _invalid(url: str, setting: str) -> SettingsError:
    return SettingsError(f"{setting} must be postgresql://user:password@host:port/database; {masked(url)} is not")
