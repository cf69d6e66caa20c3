"""`waggle tasks`: submit, list, show, explain, watch, cancel and purge tasks."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands import options
from waggle_cli.commands.explain import explain_task, logs
from waggle_cli.commands.following import ended, events, follow
from waggle_cli.commands.parameters import (
    EVERY_TASK,
    EXIT_CODES,
    FIRST_PART,
    LIST_LIMIT,
    WHICH_API,
    Flag,
    Limit,
    Output,
    Part,
    Seconds,
    TaskFilter,
    TaskId,
    TaskIds,
    Url,
    examples,
)
from waggle_cli.commands.submit import SUBMIT_EPILOGUE, SUBMIT_USAGE, submit

EPILOGUE: Final = f"""\
A task is a piece of work: its type names the handler that a worker runs, its
payload holds the handler's arguments.
{WHICH_API.rstrip()}

Examples:
  waggle tasks submit demo.echo --payload '{{"hello": "world"}}' --wait 10
  waggle tasks list --status failed --status dead_letter
  waggle tasks watch --type demo.echo
  waggle tasks show ID
  waggle tasks explain ID

{EXIT_CODES}"""

app = App(
    name="tasks",
    help="Submit, list, show, explain, watch, cancel and purge tasks.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


app.command(submit, help_epilogue=SUBMIT_EPILOGUE, usage=SUBMIT_USAGE)
app.command(explain_task, name="explain", help_epilogue=examples("waggle tasks explain ID", "waggle tasks explain ID -o json | jq -r .reasons[0].code"))
app.command(follow, help_epilogue=examples("waggle tasks follow ID", "waggle tasks follow ID --json | jq .value"))
app.command(events, help_epilogue=examples("waggle tasks events", "waggle tasks events --status dead_letter --type email.send"))
app.command(ended, help_epilogue=examples("waggle tasks ended --since 2026-01-31T18:00 --once", "waggle tasks ended --keep ends.place --type order.ship"))
app.command(logs, help_epilogue=examples("waggle tasks logs ID", "waggle tasks logs ID -f", "waggle tasks logs ID --attempt 2 -o jsonl"))


@app.command(
    name="list",
    help_epilogue=examples(
        "waggle tasks list --status failed --status dead_letter",
        "waggle tasks list --type demo.echo --limit 100 -o json",
        "waggle tasks list --all -o jsonl > tasks.jsonl",
    ),
)
def list_(filters: TaskFilter = EVERY_TASK, *, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List tasks, newest first."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, names, tasks

    with session("waggle tasks list", url) as api:
        query = filters.query()
        lists.listing(
            *(api, ["tasks"], output, tasks.table),
            query=query,
            most=part.maximum,
            cursor=part.cursor,
            again=("tasks", "list"),
            empty=lambda: names.no_tasks(api, query, part.cursor),
            url=url,
        )
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle tasks show ID", "waggle tasks show ID --wait 60 -o json"))
def show_(id_: TaskId, /, *, wait: Seconds = None, output: Output = "table", url: Url = "") -> int:
    """Show one task: its status, payload, result or error, and its timeline.

    Parameters
    ----------
    id_
        The task's id.
    wait
        Wait up to this long for the task to end; the exit code is 1 unless it completed.
    """
    from waggle_cli.commands import waiting
    from waggle_cli.commands.session import Exit, session

    with session("waggle tasks show", url) as api:
        if wait is not None:
            return waiting.wait(api, id_, wait, output, url)
        waiting.show(api, api.task(id_), output)
    return Exit.OK


@app.command(
    usage="Usage: waggle tasks watch [OPTIONS] [ID...]",
    help_epilogue=examples(
        "waggle tasks watch --type demo.echo --type demo.sleep",
        "waggle tasks watch ID ID --until-done",
        "waggle tasks watch --status dead_letter -o jsonl | while read -r task; do …; done",
    ),
)
def watch(
    ids: TaskIds | None = None,
    /,
    *,
    filters: TaskFilter = EVERY_TASK,
    until_done: Flag = False,
    limit: Limit = LIST_LIMIT,
    every: Annotated[float, Parameter(converter=options.seconds, metavar="SECONDS")] = 1.0,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Watch tasks: a live table on a terminal, otherwise a line for each change. Ctrl-C ends it.

    Ctrl-C gives exit code 0, or 130 with --until-done.

    Parameters
    ----------
    ids
        The ids of the tasks. Without ids: the newest tasks that match the options.
    until_done
        End when no watched task waits or runs; the exit code is 1 unless all completed.
    limit
        How many of the newest tasks to watch.
    every
        Seconds between two polls.
    """
    from waggle_cli.commands.session import fail, session
    from waggle_cli.commands.watching import watch as run
    from waggle_cli.rest import watching

    query = filters.query()
    if ids and any(value is not None for value in query.values()):
        fail("waggle tasks watch", "give either ids or filter options, not both")
    if limit > watching.WATCH_LIMIT or len(ids or []) > watching.WATCH_LIMIT:
        fail("waggle tasks watch", f"cannot watch more than {watching.WATCH_LIMIT} tasks")
    with session("waggle tasks watch", url) as api:
        return run(api, ids or [], query, until_done=until_done, limit=limit, every=max(every, watching.SHORTEST_PERIOD_SECONDS), output=output)


@app.command(
    usage="Usage: waggle tasks cancel [OPTIONS] ID...",
    help_epilogue=examples("waggle tasks cancel ID ID", "waggle tasks list --status pending -o jsonl | jq -r .id | waggle tasks cancel -"),
)
def cancel(ids: TaskIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Cancel tasks. A waiting task never starts; a running one is asked to stop, and its result is discarded.

    Cancelling again is harmless; a task that ended otherwise cannot be cancelled (exit code 1). With several ids, an error does not stop the \
others: the exit code is that of the first error, and -o json prints one task per line.

    Parameters
    ----------
    ids
        The ids of the tasks; - reads ids from standard input.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views import lists, tasks

    with session("waggle tasks cancel", url) as api:
        return each("waggle tasks cancel", ids, lambda id_: lists.one(api.delete("tasks", id_), output, lambda task: tasks.line("cancelled", task)))


@app.command(
    usage="Usage: waggle tasks purge [OPTIONS] ID...",
    help_epilogue=examples("waggle tasks purge ID ID", "waggle tasks list --status cancelled --all -o jsonl | jq -r .id | waggle tasks purge -"),
)
def purge(ids: TaskIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Delete finished tasks (completed, failed or cancelled) for good, with their attempts.

    A waiting or running task, or a dead letter, is not deleted (exit code 1). The API answers without a body, so -o json prints nothing.

    Parameters
    ----------
    ids
        The ids of the tasks; - reads ids from standard input.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views import show

    with session("waggle tasks purge", url) as api:

        def delete(id_: str) -> None:
            api.delete("tasks", id_, purge="true")
            if output == "table":
                show.say(f"purged {id_}")

        return each("waggle tasks purge", ids, delete)
