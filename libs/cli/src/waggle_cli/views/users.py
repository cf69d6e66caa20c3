"""Users for people."""

import sys
from collections.abc import Sequence

from rich.text import Text

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import age, at, plain, present, status


def table(users: Sequence[Json]) -> None:
    now = present()
    rows = [
        {
            "NAME": plain(user["name"]),
            "ROLE": plain(user["role"]),
            "STATE": status(_state(user)),
            "LAST LOGIN": plain(f"{age(user['last_login'], now)} ago" if "last_login" in user else "never"),
        }
        for user in users
    ]
    show.table(rows)


def card(user: Json) -> None:
    now = present()
    facts = show.fact(role=user["role"], created=at(user["created"], now), last_login=at(user.get("last_login"), now) or "never")
    show.card(Text.assemble(plain(user["name"], "bold"), "  ", status(_state(user))), facts)


def print_password(name: str, password: str) -> None:
    """What it is on standard error, the password alone on the last line of standard output."""
    print(f"The password of {name}, shown this once:", file=sys.stderr)
    show.write(password.encode() + b"\n")


def _state(user: Json) -> str:
    return "disabled" if user.get("disabled") else "active"
