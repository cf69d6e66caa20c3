"""API keys for people. A key's text is printed alone on standard output, so that a script can take it."""

import sys
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import age, at, plain, present, status, time

LIMITS_WIDTH = 40


def table(keys: Sequence[Json]) -> None:
    now = present()
    rows = [
        {
            "ID": plain(key["id"]),
            "STATE": status(_state(key, now)),
            "SCOPES": plain(", ".join(key["scopes"])),
            "LIMITED TO": plain(_limits(key)[:LIMITS_WIDTH]),
            "LAST USED": plain(f"{age(key['last_used'], now)} ago" if "last_used" in key else "never"),
            "COMMENT": plain(key["comment"]),
        }
        for key in keys
    ]
    show.table(rows)


def card(key: Json) -> None:
    now = present()
    facts = show.fact(
        comment=key["comment"],
        scopes=", ".join(key["scopes"]),
        queues=", ".join(key.get("queues", [])) or "all",
        types=", ".join(key.get("types", [])) or "all",
        created=f"{at(key['created'], now)} by {key['created_by']}",
        expires=at(key.get("expires"), now) or "never",
        last_used=at(key.get("last_used"), now) or "never",
        revoked=at(key.get("revoked"), now),
        secret_before=f"works until {at(key['previous_until'], now)}" if "previous_until" in key else "",
    )
    show.card(Text.assemble(plain(key["id"], "bold"), "  ", status(_state(key, now))), facts)


def made(key: Json) -> None:
    """The key alone on standard output, what it is on standard error."""
    print(f"The API key {key['id']}: {', '.join(key['scopes'])}; {_limits(key)}. It is shown this once:", file=sys.stderr)
    show.write(key["key"].encode() + b"\n")
    if "previous_until" in key:
        print(f"The secret before works until {at(key['previous_until'], present())}.", file=sys.stderr)


def me(caller: Json) -> None:
    facts = show.fact(may=", ".join(caller["scopes"]), queues=", ".join(caller.get("queues", [])) or "all", types=", ".join(caller.get("types", [])) or "all")
    show.card(plain(caller["name"], "bold"), facts)


def _state(key: Json, now: datetime) -> str:
    if "revoked" in key:
        return "revoked"
    return "expired" if "expires" in key and time(key["expires"]) <= now else "active"


def _limits(key: Json) -> str:
    parts = [f"{name} {', '.join(key[name])}" for name in ("queues", "types") if name in key]
    return "; ".join(parts) or "all queues and types"
