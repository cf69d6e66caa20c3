"""How a process gets into NATS: the servers of WAGGLE_NATS_URL, who it is there, and TLS. One reading for every service and command (docs/nats.md).

What is wrong here is found at the start: the client would otherwise retry for ever.
"""

import itertools
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from waggle.bus import client as nats_client
from waggle.settings.shared import Settings, SettingsError
from waggle.settings.sources import masked

ENCODED: Final = "In user, password and token write @ : / ? # % as %40 %3A %2F %3F %23 %25"


class NatsAccess(NamedTuple):
    """The addresses without secrets, and the options of nats-py's `connect` that say who this is. `tls`: a connection without it is refused."""

    servers: list[str]
    options: Mapping[str, Any] = {}
    tls: bool = False


def access(settings: Settings) -> NatsAccess:
    """Raises SettingsError; it shows no secret."""
    parts = [_address(url.strip()) for url in settings.nats_url.split(",")]
    whos = _identities(parts)
    ways = [
        ("WAGGLE_NATS_URL has a user", bool(whos)),
        ("WAGGLE_NATS_CREDS", bool(settings.nats_creds)),
        ("WAGGLE_NATS_NKEY", bool(settings.nats_nkey)),
    ]
    if len(given := [name for name, there in ways if there]) > 1:
        raise SettingsError(f"{' and '.join(given)}: there are several ways to sign in to NATS, give one")
    options: dict[str, Any] = dict(whos)
    if settings.nats_creds:
        options["user_credentials"] = _credentials(settings.nats_creds)
    if settings.nats_nkey:
        options["nkeys_seed_str"] = _seed(settings.nats_nkey)
    if context := _tls(settings):
        options["tls"] = context
    servers = [f"{part.scheme}://{part.netloc.rpartition('@')[2]}" for part in parts]
    return NatsAccess(servers, options, context is not None or any(part.scheme == "tls" for part in parts))


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        usable = parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0 and " " not in url and "@" not in parts.path + parts.query
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"WAGGLE_NATS_URL must be nats://host:port, several separated by commas; {masked(url)} is not. {ENCODED}")
    return parts


def _identities(parts: Sequence[SplitResult]) -> dict[str, str]:
    """User and password, or a token, as nats-py takes them; {} without. They go to each server, also to those of the cluster that have no address here."""
    found = {(part.username, part.password) for part in parts if part.username is not None}
    if len(found) > 1:
        raise SettingsError("WAGGLE_NATS_URL has several users: one is used for all servers of a cluster")
    for user, password in found:
        if password is None:
            return {"token": unquote(user or "")}
        return {"user": unquote(user or ""), "password": unquote(password)}
    return {}


def _credentials(file: str) -> str:
    """The path of a file of credentials, which nats-py reads again for each connection."""
    text = _read(file, "WAGGLE_NATS_CREDS")
    lines = text.splitlines()
    seeds = [seed for mark, seed in itertools.pairwise(lines) if "BEGIN USER NKEY SEED" in mark]
    if "BEGIN NATS USER JWT" not in text or not seeds or not nats_client.is_user_seed(seeds[0].strip()):
        raise SettingsError(f"WAGGLE_NATS_CREDS={file}: it is no file of credentials, with a USER JWT and a USER NKEY SEED, as `nsc generate creds` writes it")
    return file


def _seed(text: str) -> str:
    """The seed of an nkey."""
    if not nats_client.is_user_seed(text.strip()):
        raise SettingsError("WAGGLE_NATS_NKEY must be the seed of a user's nkey: it begins with SU, as `nk -gen user` prints it")
    return text.strip()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """With the authorities of the system, or that of the settings."""
    files = {name: getattr(settings, name) for name in ("nats_tls_ca", "nats_tls_cert", "nats_tls_key") if getattr(settings, name)}
    if not files:
        return None
    for name, file in files.items():
        _read(file, f"WAGGLE_{name.upper()}")
    if ("nats_tls_cert" in files) != ("nats_tls_key" in files):
        raise SettingsError("WAGGLE_NATS_TLS_CERT and WAGGLE_NATS_TLS_KEY belong together")
    try:
        context = ssl.create_default_context(cafile=files.get("nats_tls_ca"))
        if "nats_tls_cert" in files:
            context.load_cert_chain(files["nats_tls_cert"], files["nats_tls_key"], password=lambda: "")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        named = ", ".join(f"WAGGLE_{name.upper()}={file}" for name, file in files.items())
        raise SettingsError(f"{named} cannot be used: {error}") from error
    return context


def _read(file: str, setting: str) -> str:
    try:
        return Path(file).read_text()
    except OSError as error:
        raise SettingsError(f"{setting}={file} cannot be read: {error.strerror}") from error
    except ValueError:
        raise SettingsError(f"{setting}={file} is no text") from None
