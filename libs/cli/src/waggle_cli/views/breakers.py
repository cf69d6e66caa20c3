"""Circuit breakers for people."""

from collections.abc import Sequence

from rich.text import Text

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import at, plain, present, relative, status, time


def table(breakers: Sequence[Json]) -> None:
    moment = present()
    rows = [
        {
            "BREAKER": plain(found["name"]),
            "STATE": status(found["state"]),
            "FAILURES": plain(found["failures"]),
            "TRIPS": plain(found["trips"]),
            "NEXT PROBE": plain(relative(time(found["retry_at"]), moment) if found.get("retry_at") and found["state"] == "open" else ""),
            "ERROR": plain(str(found.get("error", ""))[:120]),
        }
        for found in breakers
    ]
    show.table(rows, spare=("FAILURES", "TRIPS"))


def card(breaker: Json) -> None:
    moment = present()
    facts = show.fact(
        failures=breaker["failures"],
        trips=breaker["trips"],
        opened=at(breaker.get("opened_at"), moment),
        next_probe=at(breaker.get("retry_at"), moment),
        error=breaker.get("error"),
        updated=at(breaker["updated"], moment),
    )
    show.card(Text.assemble(plain(breaker["name"], "bold"), "  ", status(breaker["state"])), facts)
