"""Where the API is: the first of --url, WAGGLE_URL, the TOML file, and the `waggle up` of this folder or one above it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx2

from waggle.settings.sources import masked
from waggle_cli.rest import logins
from waggle_cli.rest.errors import Unreachable, WrongUrl


class Address(NamedTuple):
    """Where the API is, where that address comes from, and the API key for it, if there is one.

    `login`: no key was set, and somebody has signed in there.
    """

    url: str
    source: str
    key: str = ""
    login: bool = False


def find(option: str, environ: Mapping[str, str], folder: Path) -> Address:
    """The API's address: the option `--url`, else WAGGLE_URL, else the TOML file's `url`, else what a running `waggle up` wrote in this folder or one above it.

    The key is that of WAGGLE_API_KEY, of the file WAGGLE_API_KEY_FILE, or of the TOML file, else the login is used, else the key of
    the `waggle up` whose address it is.
    Raises WrongUrl or Unreachable.
    """
    key = _configured_key(environ)
    variable, file = environ.get("WAGGLE_URL", ""), environ.get("WAGGLE_CONFIG", "")
    for url, source in ((option, "--url"), (variable, "WAGGLE_URL"), ("" if option or variable else _configured(environ, file), file)):
        if url:
            return Address(_checked(url, source), source, key, login=not key and bool(logins.token(url)))
    for parent in (folder, *folder.parents):
        announced = parent / ".waggle" / "up.json"
        if _exists(announced):
            url, own_key = _announced(announced)
            signed_in = not key and bool(logins.token(url))
            return Address(_checked(url, str(announced)), str(announced), key or own_key, login=signed_in)
    raise Unreachable("no Waggle found: start one with `waggle up`, or give --url")


def without_password(url: str) -> str:
    """An address as it may be printed."""
    return masked(url) if "@" in url else url


def _configured(environ: Mapping[str, str], file: str) -> str:
    """The key `url` of the TOML file that WAGGLE_CONFIG names."""
    if not file:
        return ""
    from waggle.settings.environment import gather

    reading = gather(environ)
    if wrong := [finding for finding in reading.findings if finding.startswith((file, "WAGGLE_CONFIG"))]:
        raise WrongUrl("\n".join(wrong))
    return str(reading.values.get("url", ""))


def _configured_key(environ: Mapping[str, str]) -> str:
    """The setting `api_key`. Raises WrongUrl."""
    key = environ.get("WAGGLE_API_KEY", "")
    if not key and (environ.get("WAGGLE_API_KEY_FILE") or environ.get("WAGGLE_CONFIG")):
        from waggle.settings.environment import gather

        reading = gather({name: value for name, value in environ.items() if name in ("WAGGLE_API_KEY_FILE", "WAGGLE_CONFIG")})
        if wrong := [finding for finding in reading.findings if finding.startswith("WAGGLE_API_KEY")]:
            raise WrongUrl("\n".join(wrong))
        key = str(reading.values.get("api_key", ""))
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise WrongUrl("WAGGLE_API_KEY is not an API key: those have the form wgl_…")
    return key


def _checked(url: str, source: str) -> str:
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongUrl(f"{source} {without_password(url)!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise WrongUrl(f"{source} must be a URL such as http://127.0.0.1:8420, not {without_password(url)!r}")
    return url


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a folder that we may not enter
        return False


def _announced(file: Path) -> tuple[str, str]:
    """The API's address in a file of `waggle up`, and its key. Only our own file is trusted, because tasks and the key are sent there."""
    try:
        if file.stat().st_uid != os.geteuid():
            raise Unreachable(f"{file} belongs to another user; give --url")
        facts = json.loads(file.read_bytes())
        return str(facts["api_url"]), str(facts.get("api_key", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{file} does not say where the API is ({type(error).__name__}); give --url") from None
