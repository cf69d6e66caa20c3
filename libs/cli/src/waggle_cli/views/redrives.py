"""Bulk retries and groups of dead letters, for people."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from waggle_cli.rest.shapes import Json, RedriveJson
from waggle_cli.views import show
from waggle_cli.views.words import age, at, count, json_text, plain, present, status


def would(found: Json, none: str) -> None:
    """What a bulk retry would do; `none` says why nothing matches."""
    show.say(f"{count(found['matched'], 'dead letter')} would be retried{none and '.'}{none}")
    for each in found.get("first") or ():
        shown = {name: json_text(each[name]) for name in ("before", "after") if name in each}
        unfit = {"does not fit": _errors(each["errors"])} if each.get("errors") else {}
        show.card(Text.assemble(each["id"], "  ", plain(each["type"])), [*show.fact(**shown), *((name, plain(text)) for name, text in unfit.items())])


def _unfit(found: Sequence[Json] | None) -> Text | None:
    return Text("\n").join(plain(f"{each['id']}  {_errors(each['errors'])}") for each in found) if found else None


def _errors(errors: Sequence[Any]) -> str:
    return "; ".join(f"{error['field']} {error['message']}" for error in errors)


def ended(redrive: RedriveJson) -> None:
    """The result of a bulk retry."""
    extra = [f"{count(redrive['skipped'], 'was', 'were')} skipped"] if redrive["skipped"] else []
    extra += [f"{redrive['failed_again']:,} failed again"] if redrive["failed_again"] else []
    unfit = redrive.get("unfit", 0)
    extra += [f"{count(unfit, 'was', 'were')} left alone because the changed payload does not fit"] if unfit else []
    done = "".join(f", {part}" for part in extra)
    show.say(f"retried {count(redrive['retried'], 'dead letter')}{done}: ", status(redrive["state"]))
    if redrive.get("reason"):
        show.say(plain(redrive["reason"]))
    for each in redrive.get("first_unfit") or ():
        show.say(f"  {each['id']}  ", plain(_errors(each["errors"])))


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
        changes=_changes(redrive.get("changes")),
        unfit=f"{redrive['unfit']:,}" if redrive.get("unfit") else None,
        first_unfit=_unfit(redrive.get("first_unfit")),
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


def _changes(given: Json | None) -> str:
    """The changes of a bulk retry as the options of the command line: `--set amount=@sum --drop sum`."""
    if given is None:
        return ""
    parts = [f"--set {name}={json_text(value)}" for name, value in given.get("set", {}).items()]
    parts += [f"--set {new}=@{old}" for new, old in given.get("copy", {}).items()]
    return " ".join(parts + [f"--drop {name}" for name in given.get("drop", ())])


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
