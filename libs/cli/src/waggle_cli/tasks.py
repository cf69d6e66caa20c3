"""`waggle tasks`: submit tasks, list them, look at one, watch them, cancel or purge some."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli import options
from waggle_cli.parameters import (
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
from waggle_cli.submit import SUBMIT_EPILOGUE, SUBMIT_USAGE, submit

EPILOGUE: Final = f"""\
A task is a piece of work for a worker: a type, which names its handler, and a
payload, the handler's arguments.
{WHICH_API.rstrip()}

Examples:
  waggle tasks submit demo.echo --payload '{{"hello": "world"}}' --wait 10
  waggle tasks list --status failed --status dead_letter
  waggle tasks watch --type demo.echo
  waggle tasks show ID

{EXIT_CODES}"""

app = App(
    name="tasks",
    help="Submit tasks, list them, look at one, watch them, cancel or purge some.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


app.command(submit, help_epilogue=SUBMIT_EPILOGUE, usage=SUBMIT_USAGE)


@app.command(
    name="list",
    help_epilogue=examples(
        "waggle tasks list --status failed --status dead_letter",
        "waggle tasks list --type demo.echo --limit 100 -o json",
        "waggle tasks list --all -o jsonl > tasks.jsonl",
    ),
)
def list_(filters: TaskFilter = EVERY_TASK, *, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List tasks, the newest first."""
    from waggle_cli import lists, names, task_views
    from waggle_cli.session import Exit, session

    with session("waggle tasks list", url) as api:
        query = filters.query()
        lists.listing(
            *(api, ["tasks"], output, task_views.table),
            query=query,
            most=part.most,
            cursor=part.cursor,
            again=("tasks", "list"),
            empty=lambda: names.no_tasks(api, query, part.cursor),
            url=url,
        )
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle tasks show ID", "waggle tasks show ID --wait 60 -o json"))
def show_(id_: TaskId, /, *, wait: Seconds = None, output: Output = "table", url: Url = "") -> int:
    """Show one task: how it stands, its payload, its result or error, and a timeline of its attempts.

    Parameters
    ----------
    id_
        The task's id.
    wait
        Wait for the task to end, so long at most; the exit code is 1 unless it completed.
    """
    from waggle_cli import waiting
    from waggle_cli.session import Exit, session

    with session("waggle tasks show", url) as api:
        if wait is not None:
            return waiting.wait(api, id_, wait, output, url)
        waiting.shown(api, api.task(id_), output)
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
    """Watch tasks: a live table on a terminal, else a line for each change. Ctrl-C ends it.

    The exit code is 0 when it is ended by Ctrl-C, and 130 with --until-done, because they were not done.

    Parameters
    ----------
    ids
        The ids of the tasks; without any, the newest ones that the options describe.
    until_done
        End when none of them waits or runs any more; the exit code is 1 unless all of them completed.
    limit
        How many of the newest are watched.
    every
        How often it looks, in seconds.
    """
    from waggle_cli import watching
    from waggle_cli.session import fail, session

    query = filters.query()
    if ids and any(value is not None for value in query.values()):
        fail("waggle tasks watch", "give either ids or options that describe tasks")
    if limit > watching.MOST or len(ids or []) > watching.MOST:
        fail("waggle tasks watch", f"at most {watching.MOST} tasks can be watched")
    with session("waggle tasks watch", url) as api:
        return watching.watch(api, ids or [], query, until_done=until_done, limit=limit, every=max(every, watching.OFTEN), output=output)


@app.command(
    usage="Usage: waggle tasks cancel [OPTIONS] ID...",
    help_epilogue=examples("waggle tasks cancel ID ID", "waggle tasks list --status pending -o jsonl | jq -r .id | waggle tasks cancel -"),
)
def cancel(ids: TaskIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Cancel tasks. One that waits is never started; one that runs is told to stop, and its result is not taken any more.

    Cancelling again is fine; a task that ended otherwise cannot be cancelled (exit code 1). With several ids the others are cancelled all the \
same, the exit code is that of the first error, and -o json prints one task a line.

    Parameters
    ----------
    ids
        The ids of the tasks; - reads them from standard input.
    """
    from waggle_cli import lists, task_views
    from waggle_cli.session import each, session

    with session("waggle tasks cancel", url) as api:
        return each("waggle tasks cancel", ids, lambda id_: lists.one(api.delete("tasks", id_), output, lambda task: task_views.line("cancelled", task)))


@app.command(
    usage="Usage: waggle tasks purge [OPTIONS] ID...",
    help_epilogue=examples("waggle tasks purge ID ID", "waggle tasks list --status cancelled --all -o jsonl | jq -r .id | waggle tasks purge -"),
)
def purge(ids: TaskIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Delete finished tasks for good, with their attempts: completed, failed or cancelled ones.

    A task that waits or runs is not deleted, nor a dead letter (exit code 1). The API answers nothing, so -o json prints nothing.

    Parameters
    ----------
    ids
        The ids of the tasks; - reads them from standard input.
    """
    from waggle_cli import show
    from waggle_cli.session import each, session

    with session("waggle tasks purge", url) as api:

        def delete(id_: str) -> None:
            api.delete("tasks", id_, purge="true")
            if output == "table":
                show.say(f"purged {id_}")

        return each("waggle tasks purge", ids, delete)
