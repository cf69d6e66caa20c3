"""The audit trail and blocked addresses for people."""

import json
import sys
from collections.abc import Sequence

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import at, exact, plain, present, relative, time


def table(entries: Sequence[Json]) -> None:
    rows = [
        {
            "SEQ": plain(entry["seq"]),
            "AT": plain(exact(entry["at"])),
            "ACTOR": plain(entry["actor"]),
            "ACTION": plain(entry["action"]),
            "TARGET": plain(entry["target"]),
            "FROM": plain(entry["address"]),
            "CHANGE": plain(" → ".join(json.dumps(entry[name], ensure_ascii=False) for name in ("before", "after") if name in entry)),
        }
        for entry in entries
    ]
    show.table(rows, spare=("FROM",))


def verified(found: Json) -> None:
    if found["fits"]:
        show.say(f"{found['entries']:,} entries, none changed, none missing")
        if "last_hash" in found:
            show.say(f"last hash  {found['last_hash']}")
    else:
        show.say(f"entry {found['broken_at']:,}: {found['problem']}; the {found['entries']:,} before it fit")


def cut_off(last_hash: str) -> None:
    print(f"No entry has the hash {last_hash}: the newest entries were cut off.", file=sys.stderr)


def blocks(found: Sequence[Json]) -> None:
    now = present()
    rows = [
        {
            "ADDRESS": plain(block["address"]),
            "ENDS": plain(relative(time(block["until"]), now)),
            "BY": plain(block["created_by"]),
            "REASON": plain(block["reason"]),
        }
        for block in found
    ]
    show.table(rows)


def block(found: Json) -> None:
    show.card(plain(found["address"], "bold"), show.fact(ends=at(found["until"], present()), by=found["created_by"], reason=found["reason"]))
