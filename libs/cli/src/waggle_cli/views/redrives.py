"""Bulk retries and groups of dead letters, for people."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from waggle_cli.rest.shapes import Json, RedriveJson
from waggle_cli.views import show
from waggle_cli.views.words import age, at, count, plain, present, status


def ended(redrive: RedriveJson) -> None:
    """The result of a bulk retry."""
    extra = [f"{count(redrive['skipped'], 'was', 'were')} skipped"] if redrive["skipped"] else []
    extra += [f"{redrive['failed_again']:,} failed again"] if redrive["failed_again"] else []
    done = "".join(f", {part}" for part in extra)
    show.say(f"retried {count(redrive['retried'], 'dead letter')}{done}: ", status(redrive["state"]))
    if redrive.get("reason"):
        show.say(plain(redrive["reason"]))


def table(redrives: Sequence[RedriveJson]) -> None:
    """Bulk retries, one per line."""
    moment = present()
    rows = [
        {
            "ID": Text(found["id"]),
            "STATE": status(found["state"]),
            "MATCHED": Text(f"{found['matched']:,}"),
            "RETRIED": Text(f"{found['retried']:,}"),
            "SKIPPED": Text(f"{found['skipped']:,}"),
            "AGAIN": Text(f"{found['failed_again']:,}"),
            "AGE": Text(age(found["created"], moment)),
            "FILTER": plain(_filter(found["filter"])),
        }
        for found in redrives
    ]
    show.table(rows, spare=("SKIPPED", "MATCHED"))


def card(redrive: RedriveJson) -> None:
    """One bulk retry."""
    moment = present()
    facts = show.fact(
        id=redrive["id"],
        filter=_filter(redrive["filter"]),
        rate=f"{redrive['rate']:g} a second",
        limit=redrive.get("limit"),
        matched=f"{redrive['matched']:,}",
        retried=f"{redrive['retried']:,}",
        skipped=f"{redrive['skipped']:,}",
        failed_again=f"{redrive['failed_again']:,}",
        reason=redrive.get("reason"),
        started=at(redrive["created"], moment),
        ended=at(redrive.get("ended_at"), moment),
        by=redrive.get("submitted_by"),
    )
    show.card(Text.assemble(("bulk retry", "bold"), "  ", status(redrive["state"])), facts)


def _filter(given: Json) -> str:
    """A bulk retry's filter in words: `type demo.fail, text no route`."""
    parts = [f"{name.replace('_', ' ')} {' or '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in given.items() if name != "all"]
    return ", ".join(parts) or "all"


def group_table(groups: Sequence[Json]) -> None:
    """Groups of dead letters, one per line."""
    moment = present()
    show.table([_group(found, age(found["last"], moment)) for found in groups], spare=("CODE", "CLASS"))


def _group(found: Any, last: str) -> dict[str, Text]:
    return {
        "FINGERPRINT": plain(found["fingerprint"]),
        "COUNT": Text(f"{found['count']:,}"),
        "TYPE": plain(found["type"]),
        "LAST": Text(last),
        "CODE": plain(found.get("code", "")),
        "CLASS": plain(found.get("error_class", "")),
        "MESSAGE": plain(found.get("message", "")),
    }
