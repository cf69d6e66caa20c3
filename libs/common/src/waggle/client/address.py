"""Where the API is, and the key for it: what the program says, else WAGGLE_URL and WAGGLE_API_KEY, else the `waggle up` of this folder or one above it."""

import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from waggle.client.errors import WrongAddressError
from waggle.client.streams import Endpoint

PORTS = {"http": 80, "https": 443}


class ApiAddress(NamedTuple):
    """An address, as `http://127.0.0.1:8420`, with its key; empty if there is none."""

    url: str
    key: str = ""


def find(url: str | None, key: str | None, environ: Mapping[str, str], folder: Path) -> ApiAddress:
    """The address and the key. Raises WrongAddressError."""
    own = key if key is not None else _own_key(environ)
    if not (own.isascii() and own.isprintable() and " " not in own):
        raise WrongAddressError("an API key is printable ASCII without spaces, such as wgl_…")
    if chosen := url or environ.get("WAGGLE_URL", ""):
        return ApiAddress(chosen, own)
    for parent in (folder, *folder.parents):
        file = parent / ".waggle" / "up.json"
        if (announced := _announced(file)) is not None:
            return ApiAddress(announced.url, own or announced.key)
    raise WrongAddressError("no Waggle found: set WAGGLE_URL and WAGGLE_API_KEY, run in the folder of a `waggle up`, or write Client(url, api_key)")


def endpoint(url: str) -> tuple[Endpoint, str, str]:
    """Where an address leads, the header `host`, and the path before `/api`. Raises WrongAddressError."""
    try:
        parts = urlsplit(url)
        port = PORTS[parts.scheme] if parts.port is None else parts.port
    except (ValueError, KeyError):
        raise WrongAddressError(f"an address is like http://127.0.0.1:8420, not {_masked(url)!r}") from None
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise WrongAddressError(f"an address is like http://127.0.0.1:8420, not {_masked(url)!r}; the key has a setting of its own")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Endpoint(parts.hostname, port, tls), parts.netloc, parts.path.rstrip("/")


def _own_key(environ: Mapping[str, str]) -> str:
    if file := environ.get("WAGGLE_API_KEY_FILE", ""):
        try:
            return Path(file).read_text().strip()
        except (OSError, ValueError) as error:
            raise WrongAddressError(f"WAGGLE_API_KEY_FILE {file} cannot be read: {error}") from None
    return environ.get("WAGGLE_API_KEY", "")


def _announced(file: Path) -> ApiAddress | None:
    """What a `waggle up` wrote. Only our own file is trusted, because tasks and the key are sent there."""
    try:
        if hasattr(os, "geteuid") and file.stat().st_uid != os.geteuid():
            return None
        facts = json.loads(file.read_bytes())
        return ApiAddress(str(facts["api_url"]), str(facts.get("api_key", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _masked(url: str) -> str:
    """Without what may be a password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if found and "@" in rest else url
