"""The address of Postgres as libpq reads it: one server, or several of which one is the primary (docs/high-availability.md)."""

import os
import random
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from waggle.settings.shared import SettingsError
from waggle.settings.sources import masked
from waggle.store.parameters import TARGETS, read_parameters

HOST_SECONDS: Final = 2.0  # for one of several servers to answer; connect_timeout in the address changes it
LONGEST_HOST_SECONDS: Final = 60
DEFAULT_PORT: Final = "5432"
ENCODED: Final = "In user and password write @ : / ? # % as %40 %3A %2F %3F %23 %25"

_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\[\]:@/\s]+|/[^@\s]*)(?::(?P<port>\d*))?")


class Host(NamedTuple):
    """One server: `url` is the address without the others, `name` is for messages and holds no password."""

    url: str
    name: str


class PostgresAddress(NamedTuple):
    """The servers in the order in which they are tried. `primary`: the one that is used must take writes. `seconds`: for each to answer; None: the caller's.

    `own`: the parameters that Waggle does itself.
    """

    hosts: tuple[Host, ...]
    primary: bool
    seconds: float | None
    own: Mapping[str, str]


def read_address(url: str, setting: str = "WAGGLE_POSTGRES_URL", environ: Mapping[str, str] = os.environ) -> PostgresAddress:
    """The servers of an address. Raises SettingsError for an invalid one, which would otherwise look like an unavailable server; it shows no password."""
    try:
        parts = urlsplit(url)
        own, drivers = read_parameters(parts.query, setting, environ)
    except ValueError:
        raise _invalid(url, setting) from None
    if parts.scheme not in ("postgresql", "postgres") or ("@" in parts.path and "@" not in parts.netloc):
        raise _invalid(url, setting)
    seconds = _seconds(own, setting)
    who, at, netloc = parts.netloc.partition("@") if "@" in parts.netloc else ("", "", parts.netloc)
    named = netloc or own.get("host", "") or environ.get("PGHOST", "")
    if "," not in named:
        return PostgresAddress((_one(parts, netloc, own, drivers, setting),), TARGETS[own.get("target_session_attrs", "any")], seconds, own)
    ports = own.get("port") or ("" if netloc else environ.get("PGPORT", ""))
    pairs = _pairs(named, "" if netloc else ports, setting)
    path = _path(parts)
    rest = f"{path}?{urlencode(drivers)}" if drivers else path
    found = [Host(f"{parts.scheme}://{who}{at}{_written(host)}:{port}{rest}", f"{host}:{port}") for host, port in pairs]
    if own.get("load_balance_hosts") == "random":
        random.shuffle(found)
    return PostgresAddress(tuple(found), True, seconds or HOST_SECONDS, own)


def _one(parts: SplitResult, netloc: str, own: Mapping[str, str], drivers: list[tuple[str, str]], setting: str) -> Host:
    """One server. An address without parameters stays as it was written."""
    try:
        usable = parts.port != 0 and (netloc.startswith(":") or not netloc or _HOST.fullmatch(unquote(netloc)))
    except ValueError:
        usable = False
    if not usable:
        raise _invalid(parts.geturl(), setting)
    query = [*((name, own[name]) for name in ("host", "port") if name in own), *drivers]
    url = f"{parts.scheme}://{parts.netloc}{_path(parts)}" + (f"?{urlencode(query)}" if query else "")
    return Host(url, netloc or own.get("host", "") or "localhost")


def _path(parts: SplitResult) -> str:
    """For asyncpg a path without a name is an empty one, whatever the parameter dbname says."""
    return "" if parts.path == "/" else parts.path


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
    if text == "0":  # libpq's word for no limit: Waggle's own stays
        return None
    if not text.isdecimal() or not 0 < int(text) <= LONGEST_HOST_SECONDS:
        raise SettingsError(f"{setting}: connect_timeout={text} cannot be used: it is whole seconds from 1 to {LONGEST_HOST_SECONDS}, for each host")
    return float(text)


def _invalid(url: str, setting: str) -> SettingsError:
    return SettingsError(f"{setting} must be postgresql://user:password@host:port/database; {masked(url)} is not. {ENCODED}")
