"""`waggle explain`, and of one task `waggle tasks explain` and `waggle tasks logs`."""

import sys
import time
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from waggle_cli.commands.parameters import Output, TaskId, Url

POLL_SECONDS: Final = 1.0


def explain(id_: TaskId | None = None, /, *, output: Output = "table", url: Url = "") -> int:
    """Say why a task does not run now, or how it ended; without an ID, what waits and why.

    Parameters
    ----------
    id_
        The task's id. Without one: all that waits, by reason, queue and type.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import explain as views
    from waggle_cli.views import lists

    with session("waggle explain", url) as api:
        if id_ is not None:
            lists.one(api.get("tasks", id_, "explain"), output, views.explanation)
        else:
            lists.whole(api.get("explain"), output, views.waiting, "Nothing waits.")
    return Exit.OK


def logs(
    id_: TaskId,
    /,
    *,
    attempt: Annotated[int | None, Parameter(validator=Number(gte=1), metavar="N")] = None,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="", show_default=False)] = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Show what the handler of a task has logged through ctx.log; that of a running attempt, too.

    The first lines of each attempt are kept: WAGGLE_ATTEMPT_LOG_LINES, WAGGLE_ATTEMPT_LOG_BYTES. Those of an attempt whose worker died are lost.

    Parameters
    ----------
    id_
        The task's id.
    attempt
        Only the lines of this attempt.
    follow
        Show new lines as they come, until the task has ended. Ctrl-C ends it.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.rest.shapes import AT_REST
    from waggle_cli.views import explain as views
    from waggle_cli.views import lists

    with session("waggle tasks logs", url) as api:
        if not follow:
            table, empty = partial(views.log_lines, many=attempt is None), "It has logged nothing."
            lists.listing(api, ("tasks", id_, "logs"), output, table, query={"attempt": attempt}, most=None, empty=lambda: empty)
            return Exit.OK
        seen: set[tuple[int, int]] = set()
        while True:
            ended = api.task(id_).value["status"] in AT_REST  # before the lines: what it logged at its end is among them
            last = max((number for number, _ in seen), default=1)
            pages = api.pages("tasks", id_, "logs", limit=None, attempt=attempt, after_attempt=last - 1)
            for line in [line for page in pages for line in page.value["items"]]:
                if (place := (line["attempt"], line["number"])) not in seen:
                    seen.add(place)
                    _follow(line, output, many=attempt is None)
            if ended:
                return Exit.OK
            time.sleep(POLL_SECONDS)


def _follow(line: dict[str, object], output: str, *, many: bool) -> None:
    import json

    from waggle_cli.views import explain as views

    if output == "table":
        views.log_line(line, many=many)
    else:
        print(json.dumps(line, ensure_ascii=False))
    sys.stdout.flush()


def explain_task(id_: TaskId, /, *, output: Output = "table", url: Url = "") -> int:
    """Say why a task does not run now, or how it ended, and what to do.

    Parameters
    ----------
    id_
        The task's id.
    """
    return explain(id_, output=output, url=url)
