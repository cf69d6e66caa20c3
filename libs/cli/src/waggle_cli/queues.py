"""`waggle queues`: what waits and runs in each queue, pausing and resuming, figures, and purging what waits."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from waggle_cli import options
from waggle_cli.parameters import EXIT_CODES, WHICH_API, Flag, OfType, Output, Priority, QueueName, QueueNames, Url, examples

if TYPE_CHECKING:
    from waggle_cli.shapes import Json, Queue

EPILOGUE: Final = f"""\
A queue keeps kinds of work apart; each of its four priorities is a lane.
`waggle queues` without a command is `waggle queues list`.
{WHICH_API.rstrip()}

Examples:
  waggle queues
  waggle queues stats mail --window 24h
  waggle queues pause mail

{EXIT_CODES}"""

app = App(
    name="queues",
    help="Look at queues, pause and resume them, purge what waits.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle queues list", "waggle queues list -o jsonl | jq -r 'select(.paused).name'"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the queues: how many tasks are ready, wait for a later time, or run."""
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle queues list", url) as api:
        lists.whole(api.get("queues"), output, _table, "No queues.")
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle queues show mail"))
def show_(name: QueueName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one queue with its lanes.

    Parameters
    ----------
    name
        The queue's name.
    """
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle queues show", url) as api:
        lists.one(api.get("queues", name), output, _card)
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
    """Show a queue's figures: tasks that came in, completed and failed, how long they took, how many fail.

    Parameters
    ----------
    name
        The queue's name.
    window
        Over how long, at most a day: seconds, or a length such as 15m or 24h.
    """
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle queues stats", url) as api:
        lists.one(api.get("queues", name, "stats", window=f"{window:g}"), output, _stats_card)
    return Exit.OK


@app.command(usage="Usage: waggle queues pause [OPTIONS] NAME...", help_epilogue=examples("waggle queues pause mail reports"))
def pause(names: QueueNames, /, *, output: Output = "table", url: Url = "") -> int:
    """Pause queues: no worker takes a task out of them any more. What runs goes on, and new tasks are accepted and wait.

    Parameters
    ----------
    names
        The queues' names.
    """
    return _switch(names, "pause", output, url)


@app.command(usage="Usage: waggle queues resume [OPTIONS] NAME...", help_epilogue=examples("waggle queues resume mail"))
def resume(names: QueueNames, /, *, output: Output = "table", url: Url = "") -> int:
    """Resume queues that were paused.

    Parameters
    ----------
    names
        The queues' names.
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
    """Cancel all tasks that wait in a queue. What runs goes on.

    At a terminal it asks first; elsewhere it does nothing without --yes.

    Parameters
    ----------
    name
        The queue's name.
    priority
        Only tasks of this priority: low, medium, high or critical, or 0 to 3.
    type_
        Only tasks of this type.
    yes
        Do not ask.
    """
    from waggle_cli import lists, show
    from waggle_cli.progress import progress
    from waggle_cli.session import Exit, agreed, session
    from waggle_cli.words import count

    body = {field: value for field, value in (("priority", priority), ("type", type_)) if value is not None}
    with session("waggle queues purge", url) as api:
        if not yes:
            found: Queue = api.get("queues", name).value
            only = f", only those of {' and '.join(f'{field} {value}' for field, value in body.items())}" if body else ""
            agreed("waggle queues purge", f"Cancel what waits in {name} ({count(found['ready'] + found['later'], 'task')}){only}?", yes)
        cancelled, more = 0, True
        with progress("cancelling", None) as report:
            while more:  # one request does what it can in its time
                answer = api.post("queues", name, "purge", body=json.dumps(body).encode() if body else None)
                cancelled, more = cancelled + answer.value["cancelled"], answer.value.get("more", False)
                report(cancelled, count(cancelled, "task"))
                if output != "table":
                    lists.one(answer, output, show.say)
    if output == "table":
        show.say(f"cancelled {count(cancelled, 'task')} that waited")
    return Exit.OK


def _switch(names: Sequence[str], verb: str, output: str, url: str) -> int:
    from waggle_cli import lists, show
    from waggle_cli.session import each, session
    from waggle_cli.words import plain

    done = {"pause": "paused ", "resume": "resumed "}[verb]
    with session(f"waggle queues {verb}", url) as api:
        return each(
            f"waggle queues {verb}", names, lambda name: lists.one(api.post("queues", name, verb), output, lambda queue: show.say(done, plain(queue["name"])))
        )


def _table(queues: "Sequence[Queue]") -> None:
    from waggle_cli import show
    from waggle_cli.words import plain, status

    rows = [
        {
            "QUEUE": plain(found["name"]),
            "READY": plain(f"{found['ready']:,}"),
            "LATER": plain(f"{found['later']:,}"),
            "RUNNING": plain(f"{found['running']:,}"),
            "STATE": status("paused") if found["paused"] else plain("open to workers", "dim"),
        }
        for found in queues
    ]
    show.table(rows)


def _card(queue: "Queue") -> None:
    from rich.text import Text

    from waggle_cli import show
    from waggle_cli.words import plain, status

    rows = [
        {"LANE": plain(name), **{title: plain(f"{depth[title.lower()]:,}") for title in ("READY", "LATER", "RUNNING")}}
        for name, depth in queue["lanes"].items()
    ]
    facts = show.fact(ready=f"{queue['ready']:,}", later=f"{queue['later']:,}", running=f"{queue['running']:,}")
    state = Text.assemble("  ", status("paused")) if queue["paused"] else ""
    show.card(Text.assemble(plain(queue["name"], "bold"), state), facts, Text(""), show.grid(rows, 60))


def _stats_card(stats: "Json") -> None:
    from datetime import timedelta

    from waggle_cli import show
    from waggle_cli.words import duration, plain

    def length(seconds: float) -> str:
        return duration(timedelta(seconds=seconds))

    facts = show.fact(
        over=f"the last {length(stats['window'])}",
        came_in=f"{stats['tasks_enqueued']:,}",
        completed=f"{stats['tasks_completed']:,}",
        failed=f"{stats['tasks_failed']:,}",
        error_rate=f"{stats['error_rate']:.1%}",
        mean_time=length(stats["processing_time"]) if stats.get("processing_time") is not None else "",
        waiting=f"{stats['queue_length']:,}",
        workers=f"{stats['active_workers']:,}",
    )
    show.card(plain(stats["queue"], "bold"), facts)
