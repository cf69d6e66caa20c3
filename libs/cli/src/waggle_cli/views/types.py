"""Task types for people."""

from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

from rich.text import Text

from waggle.retry import Backoff, Kind
from waggle_cli.rest.checking import Checked
from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import duration, exact, json_text, plain


def table(types: Sequence[Json]) -> None:
    rows = [
        {
            "TYPE": plain(found["name"]),
            "QUEUE": plain(found["queue"]),
            "RETRIES": plain(found["max_retries"]),
            "TIMEOUT": plain(duration(timedelta(seconds=found["timeout"]))),
            "PAYLOAD": plain(_fields(found.get("schema"))),
        }
        for found in types
    ]
    show.table(rows)


def _fields(schema: object) -> str:
    """The fields of a payload in a few words; a ? marks an optional one."""
    if not isinstance(schema, dict) or not isinstance(fields := schema.get("properties"), dict):
        return "any object" if not schema or schema.get("type") == "object" else ""  # type: ignore[attr-defined]  # a schema is an object
    fields, required = [name for name, rule in fields.items() if rule is not False], schema.get("required", [])
    more = ["…" if fields else "any object"] if schema.get("additionalProperties", True) else []
    return ", ".join([*(name if name in required else f"{name}?" for name in fields), *more]) or "nothing"


def _backoff(found: Json) -> str:
    """The waits between tries in a few words."""
    if found.get("kind") not in get_args(Kind):
        return f"by the function {found['function']}" if found.get("function") else ""
    backoff = Backoff(**{name: found[name] for name in Backoff.__struct_fields__})
    first, second, third = (duration(timedelta(seconds=backoff.longest(attempt)), short=True) for attempt in (1, 2, 3))
    waits = first if backoff.kind == "fixed" else f"{first}, {second}, {third} … at most {duration(timedelta(seconds=backoff.cap), short=True)}"
    return waits + (f"; {backoff.jitter:.0%} of it by chance" if backoff.jitter else "")


def card(found: Json) -> None:
    facts = show.fact(
        queue=found["queue"],
        retries=found["max_retries"],
        timeout=f"{duration(timedelta(seconds=found['timeout']))} a try",
        backoff=_backoff(found.get("backoff") or {}),
        dead_letters="" if found.get("dead_letter", True) else "no: it fails for good",
        payload=json_text(found["schema"]) if found.get("schema") else "any object",
    )
    show.card(plain(found["name"], "bold"), facts)
    show.table([_version(version) for version in found["versions"]])


def _version(version: Json) -> dict[str, Text]:
    return {
        "VERSION": plain(version["version"]),
        "ANNOUNCED": plain(exact(version["announced"])),
        "PAYLOAD": plain(_fields(version["schema"])),
        "WORKERS": plain(", ".join(version["workers"]) or "none: it was served last"),
    }


def checked(found: Sequence[Checked]) -> None:
    """Each type of somebody's code, with what it no longer takes."""
    rows = []
    for each in found:
        hidden = ["values of its payloads are hidden: tasks that wait were not tried"] if each.hidden else []
        words = {"new": "new", "same": "as it is live", "changed": "takes all that is taken today"}
        for problem in [*each.problems, *hidden] or [words[each.change]]:
            rows.append(
                {"TYPE": plain(each.type), "CHECK": plain("breaks" if each.problems else "ok", "red" if each.problems else "green"), "WHAT": plain(problem)}
            )
    show.table(rows)
