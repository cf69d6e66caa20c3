"""`waggle workers` and `waggle types`: who is there, and what they can do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cyclopts import App, Parameter

from waggle_cli.parameters import EXIT_CODES, WHICH_API, Output, TypeName, Url, examples

if TYPE_CHECKING:
    from waggle_cli.shapes import Json

WORKERS_EPILOGUE: Final = f"""\
A worker is alive while its lease is: it renews it every few seconds.
{WHICH_API}
{examples("waggle workers", "waggle workers -o jsonl | jq -r 'select(.alive).id'")}"""
TYPES_EPILOGUE: Final = f"""\
A type names a handler. Workers announce theirs when they start, with the schema
of its payload. `waggle types` without a command is `waggle types list`.
{WHICH_API.rstrip()}

Examples:
  waggle types
  waggle types show demo.echo

{EXIT_CODES}"""

plain_lists: Final = Parameter(negative_iterable=())
workers_app = App(
    name="workers", help="See the workers: which live, what they serve, how much they run.", help_epilogue=WORKERS_EPILOGUE, default_parameter=plain_lists
)
types_app = App(
    name="types", help="See the task types: their defaults, and what their payloads must hold.", help_epilogue=TYPES_EPILOGUE, default_parameter=plain_lists
)


@workers_app.default
@workers_app.command(name="list", help_epilogue=examples("waggle workers list"))
def workers(*, output: Output = "table", url: Url = "") -> int:
    """List the workers, the newest first."""
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle workers", url) as api:
        lists.whole(api.get("workers"), output, _workers_table, "No workers. Start one: waggle worker")
    return Exit.OK


@types_app.default
@types_app.command(name="list", help_epilogue=examples("waggle types list", "waggle types list -o jsonl | jq -r .name"))
def types(*, output: Output = "table", url: Url = "") -> int:
    """List the task types with their defaults."""
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle types list", url) as api:
        lists.whole(api.get("types"), output, _types_table, "No types. A worker announces its own when it starts: waggle worker")
    return Exit.OK


@types_app.command(name="show", help_epilogue=examples("waggle types show demo.echo", "waggle types show demo.echo -o json | jq .schema"))
def show_type(name: TypeName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one type, and what its payload must hold.

    Parameters
    ----------
    name
        The type's name.
    """
    from waggle_cli import lists, names
    from waggle_cli.session import Exit, session
    from waggle_cli.shapes import Answer

    with session("waggle types show", url) as api:
        answer = api.get("types")
        found = {item["name"]: Answer(200, raw, item) for item, raw in zip(answer.value["items"], lists.raw_items(answer), strict=True)}
        if name not in found:
            names.not_there("type", name, found)
        lists.one(found[name], output, _type_card)
    return Exit.OK


def _workers_table(workers: "Sequence[Json]") -> None:
    from waggle_cli import show
    from waggle_cli.words import age, plain, present, status

    moment = present()
    rows = [
        {
            "WORKER": plain(found["id"]),
            "STATE": status("gone" if not found["alive"] else "draining" if found["draining"] else "alive"),
            "RUNNING": plain(f"{found['running']} of {found['concurrency']}"),
            "HOST": plain(f"{found['host']}:{found['pid']}"),
            "VERSION": plain(found["version"]),
            "STARTED": plain(age(found["started_at"], moment)),
            "SEEN": plain(age(found["last_seen"], moment)),
            "QUEUES": plain(", ".join(found["queues"])),
        }
        for found in workers
    ]
    show.table(rows, spare=("HOST", "VERSION", "STARTED"))


def _types_table(types: "Sequence[Json]") -> None:
    from datetime import timedelta

    from waggle_cli import show
    from waggle_cli.words import duration, plain

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
    """The fields of a payload in a few words; those with a ? may be left out."""
    if not isinstance(schema, dict) or not isinstance(fields := schema.get("properties"), dict):
        return "any object" if not schema or schema.get("type") == "object" else ""  # type: ignore[attr-defined]  # a schema is an object
    required = schema.get("required", [])
    more = ["…" if fields else "any object"] if schema.get("additionalProperties", True) else []
    return ", ".join([*(name if name in required else f"{name}?" for name in fields), *more]) or "nothing"


def _type_card(found: "Json") -> None:
    from datetime import timedelta

    from waggle_cli import show
    from waggle_cli.words import duration, json_text, plain

    facts = show.fact(
        queue=found["queue"],
        retries=found["max_retries"],
        timeout=f"{duration(timedelta(seconds=found['timeout']))} a try",
        dead_letters="" if found.get("dead_letter", True) else "no: it fails for good",
        payload=json_text(found["schema"]) if found.get("schema") else "any object",
    )
    show.card(plain(found["name"], "bold"), facts)
