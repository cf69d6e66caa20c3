"""Logins of the command line, by the address of the API: kept in a file of the user's own, and renewed before they expire."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from waggle_cli.rest.shapes import Json

EARLY_SECONDS: Final = 30.0  # an access token that expires so soon is renewed first


def token(url: str) -> str:
    """The access token for this API; empty if nobody has signed in there."""
    return str(_read().get(_name(url), {}).get("access_token", ""))


def expiring(url: str) -> str | None:
    """The refresh token, if the access token expires in a moment; None if it does not, or there is none."""
    kept = _read().get(_name(url), {})
    return str(kept["refresh_token"]) if kept and float(kept["expires_at"]) < time.time() + EARLY_SECONDS else None


def keep(url: str, answer: Mapping[str, Any]) -> None:
    """Keep what the API answered to a login or a refresh."""
    kept = {name: answer[name] for name in ("access_token", "refresh_token")} | {"expires_at": time.time() + answer["expires_in"]}
    _write(_read() | {_name(url): kept})


def drop(url: str) -> None:
    _write({name: kept for name, kept in _read().items() if name != _name(url)})


def file() -> Path:
    """$XDG_CONFIG_HOME/waggle/logins.json, by default in ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "waggle" / "logins.json"


def _name(url: str) -> str:
    return url.rstrip("/")


def _read() -> dict[str, Json]:
    """What is kept; nothing if the file is missing, broken, or another user's."""
    try:
        if file().stat().st_uid != os.geteuid():
            return {}
        found: dict[str, Json] = json.loads(file().read_bytes())
        return {name: kept for name, kept in found.items() if {"access_token", "refresh_token", "expires_at"} <= kept.keys()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write(kept: dict[str, Json]) -> None:
    """Replace the file; only its owner can read it."""
    file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, fresh = tempfile.mkstemp(dir=file().parent, prefix=".logins.")  # mode 0600
    with os.fdopen(number, "w") as opened:
        json.dump(kept, opened)
    Path(fresh).replace(file())
