"""`waggle publishers`: who may publish tasks to NATS."""

import json
from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, Flag, Output, Part, Url, examples

EPILOGUE: Final = f"""\
A publisher hands over tasks at `waggle.submit.NAME.TYPE`, with a NATS user of
its own. NATS takes a change once it has the file of `waggle publishers nats`
and has read its configuration again: `nats-server --signal reload`. The NATS
of `waggle up` does so by itself.
{WHICH_API.rstrip()}

Examples:
  waggle publishers
  waggle publishers add shop --queue mail --type email.send
  waggle publishers nats > publishers.conf

{EXIT_CODES}"""

Name = Annotated[str, Parameter(name="NAME")]
Names = Annotated[list[str], Parameter(name="NAME")]

app = App(
    name="publishers",
    help="Who may publish tasks to NATS: list, add, rotate, remove.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle publishers list", "waggle publishers list --all -o jsonl"))
def list_(*, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List the publishers."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, publishers

    with session("waggle publishers list", url) as api:
        lists.listing(
            api,
            ["publishers"],
            output,
            publishers.table,
            query={},
            most=part.maximum,
            cursor=part.cursor,
            again=("publishers", "list"),
            empty=lambda: "No publishers: `waggle publishers add NAME` makes one.",
            url=url,
        )
    return Exit.OK


@app.command(help_epilogue=examples("waggle publishers add shop", "waggle publishers add shop --queue mail --queue reports --type email.send --events"))
def add(
    name: Name,
    /,
    *,
    queue: Annotated[list[str] | None, Parameter(name="--queue")] = None,
    type_: Annotated[list[str] | None, Parameter(name="--type")] = None,
    events: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Add a publisher and print its password. It is shown this once, and stored as a hash.

    Parameters
    ----------
    name
        Its name: a part of its subjects.
    queue
        It may submit to this queue only. May be repeated.
    type_
        It may submit this type only. May be repeated.
    events
        It may hear the events of all tasks.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, publishers

    fields = {"name": name, "queues": queue, "types": type_, "events": events or None}
    body = json.dumps({field: value for field, value in fields.items() if value is not None}).encode()
    with session("waggle publishers add", url) as api:
        lists.one(api.post("publishers", body=body), output, publishers.made)
    return Exit.OK


@app.command(help_epilogue=examples("waggle publishers rotate shop"))
def rotate(name: Name, /, *, output: Output = "table", url: Url = "") -> int:
    """Give a publisher another password and print it. NATS takes the one before until it has the new file of `waggle publishers nats`.

    Parameters
    ----------
    name
        The name of the publisher.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, publishers

    with session("waggle publishers rotate", url) as api:
        lists.one(api.post("publishers", name, "rotate"), output, publishers.made)
    return Exit.OK


@app.command(usage="Usage: waggle publishers remove [OPTIONS] NAME...", help_epilogue=examples("waggle publishers remove shop"))
def remove(names: Names, /, *, url: Url = "") -> int:
    """Remove publishers: within two seconds all that they publish is rejected. Their tasks stay.

    Parameters
    ----------
    names
        The names of the publishers.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    def one(name: str) -> None:
        api.delete("publishers", name)
        say("removed ", plain(name))

    with session("waggle publishers remove", url) as api:
        return each("waggle publishers remove", names, one)


@app.command(help_epilogue=examples("waggle publishers nats > publishers.conf && chmod 600 publishers.conf"))
def nats(*, url: Url = "") -> int:
    """Print the file of the publishers, which a configuration of `waggle nats config` includes. It holds hashes of their passwords."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import show

    with session("waggle publishers nats", url) as api:
        show.write(api.get("nats", "publishers").value["text"].encode())
    return Exit.OK
