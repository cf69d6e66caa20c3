"""The certificates that an address of Postgres names: they are read at the start, so that a wrong file is a wrong setting and no server that is away."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from waggle.settings.shared import SettingsError
from waggle.store import client

SYSTEM: Final = "system"  # as sslrootcert: the authorities of this machine
_FILES: Final = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL"}


def tls_options(url: str, setting: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What asyncpg must be told beside the address. Raises SettingsError for files that cannot be used.

    asyncpg reads the files again for each connection, so that a renewed certificate needs no restart.
    """
    given = dict(parse_qsl(urlsplit(url).query))
    mode = given.get("sslmode") or environ.get("PGSSLMODE", "")
    if mode == "disable":
        return {}
    files = {name: found for name, variable in _FILES.items() if (found := given.get(name) or environ.get(variable, ""))}
    for name, file in files.items():
        if (name, file) != ("sslrootcert", SYSTEM):
            _check_readable(file, f"{setting}: {name}={file}")
    try:
        if files.get("sslrootcert") == SYSTEM:
            return {"ssl": _of_this_machine(mode, files, given.get("sslpassword", ""), setting)}
        client.check_address(url)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        names = ", ".join(files) or "the parameters for TLS"
        raise SettingsError(f"{setting}: {names} cannot be used: {str(error).partition(chr(10))[0]}{_advice(mode, files)}") from error
    return {}


def _check_readable(file: str, named: str) -> None:
    try:
        with Path(file).open("rb"):
            return
    except OSError as error:
        raise SettingsError(f"{named} cannot be read: {error.strerror}") from error


def _of_this_machine(mode: str, files: Mapping[str, str], passphrase: str, setting: str) -> ssl.SSLContext:
    """libpq's sslrootcert=system, which asyncpg does not know."""
    if mode not in ("", "verify-full"):
        raise SettingsError(f"{setting}: sslrootcert=system needs sslmode=verify-full, not {mode}")
    context = ssl.create_default_context()
    if "sslcert" in files:
        context.load_cert_chain(files["sslcert"], files.get("sslkey"), password=lambda: passphrase)
    return context


def _advice(mode: str, files: Mapping[str, str]) -> str:
    if mode in ("verify-ca", "verify-full") and "sslrootcert" not in files:
        return "; name the certificate of the authority with sslrootcert=FILE, or sslrootcert=system for those of this machine"
    return ""
