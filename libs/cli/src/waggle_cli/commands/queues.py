"""`waggle queues`: depths and statistics of queues; pause, resume and purge them."""

import json
from collections.abc import Sequence
from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands import options
from waggle_cli.commands.parameters import EXIT_CODES, WHICH_API, Flag, OfType, Output, Priority, QueueName, QueueNames, Url, examples

EPILOGUE: Final = f"""\
A queue isolates one kind of work; each of its four priorities is a lane.
`waggle queues` without a command is `waggle queues list`.
{WHICH_API.rstrip()}

Examples:
  waggle queues
  waggle queues stats mail --window 24h
  waggle queues pause mail

{EXIT_CODES}"""

app = App(
    name="queues",
    help="List queues, show one, pause and resume them, cancel their waiting tasks.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle queues list", "waggle queues list -o jsonl | jq -r 'select(.paused).name'"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the queues: how many tasks are ready, due later, or running."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, queues

    with session("waggle queues list", url) as api:
        lists.whole(api.get("queues"), output, queues.table, "No queues.")
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle queues show mail"))
def show_(name: QueueName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one queue with its lanes.

    Parameters
    ----------
    name
        The queue's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, queues

    with session("waggle queues show", url) as api:
        lists.one(api.get("queues", name), output, queues.card)
    return Exit.OK


@app.command(help_epilogue=examples("waggle queues stats mail", "waggle queues stats mail --window 24h -o json"))
def stats(
    name: QueueName,
    /,
    *,
    window: Annotated[float, Parameter(converter=options.seconds, metavar="SECONDS")] = 3600.0,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Show a queue's statistics: tasks submitted, completed and failed, their mean time, the error rate.

    Parameters
    ----------
    name
        The queue's name.
    window
        The period, at most a day: seconds, or a length such as 15m or 24h.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, queues

    with session("waggle queues stats", url) as api:
        lists.one(api.get("queues", name, "stats", window=f"{window:g}"), output, queues.stats)
    return Exit.OK


@app.command(usage="Usage: waggle queues pause [OPTIONS] NAME...", help_epilogue=examples("waggle queues pause mail reports"))
def pause(names: QueueNames, /, *, output: Output = "table", url: Url = "") -> int:
    """Pause queues: workers start no more tasks from them. Running tasks continue; new tasks are accepted and wait.

    Parameters
    ----------
    names
        The names of the queues.
    """
    return _switch(names, "pause", output, url)


@app.command(usage="Usage: waggle queues resume [OPTIONS] NAME...", help_epilogue=examples("waggle queues resume mail"))
def resume(names: QueueNames, /, *, output: Output = "table", url: Url = "") -> int:
    """Resume paused queues.

    Parameters
    ----------
    names
        The names of the queues.
    """
    return _switch(names, "resume", output, url)


@app.command(help_epilogue=examples("waggle queues purge mail", "waggle queues purge mail --priority low --type email.send --yes"))
def purge(
    name: QueueName,
    /,
    *,
    priority: Priority = None,
    type_: OfType = None,
    yes: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Cancel all tasks that wait in a queue. Running tasks continue.

    On a terminal it asks first; elsewhere it needs --yes.

    Parameters
    ----------
    name
        The queue's name.
    priority
        Only tasks with this priority: low, medium, high or critical, or 0 to 3.
    type_
        Only tasks of this type.
    yes
        Do not ask.
    """
    from waggle_cli.commands.session import Exit, confirm, session
    from waggle_cli.views import lists, show
    from waggle_cli.views.progress import progress
    from waggle_cli.views.words import count

    body = {field: value for field, value in (("priority", priority), ("type", type_)) if value is not None}
    with session("waggle queues purge", url) as api:
        if not yes:
            found = api.get("queues", name).value
            only = f", only those of {' and '.join(f'{field} {value}' for field, value in body.items())}" if body else ""
            confirm("waggle queues purge", f"Cancel the waiting tasks of queue {name} ({count(found['ready'] + found['later'], 'task')} in all){only}?")
        cancelled, more = 0, True
        with progress("cancelling", None) as report:
            while more:  # one request cancels what it can within its time limit
                answer = api.post("queues", name, "purge", body=json.dumps(body).encode() if body else None)
                cancelled, more = cancelled + answer.value["cancelled"], answer.value.get("more", False)
                report(cancelled, count(cancelled, "task"))
                if output != "table":
                    lists.one(answer, output, show.say)
    if output == "table":
        show.say(f"cancelled {count(cancelled, 'waiting task')}")
    return Exit.OK


def _switch(names: Sequence[str], verb: str, output: str, url: str) -> int:
    from waggle_cli.commands.session import each, session
    from waggle_cli.views import lists, show
    from waggle_cli.views.words import plain

    done = {"pause": "paused ", "resume": "resumed "}[verb]
    with session(f"waggle queues {verb}", url) as api:
        return each(
            f"waggle queues {verb}", names, lambda name: lists.one(api.post("queues", name, verb), output, lambda queue: show.say(done, plain(queue["name"])))
        )
