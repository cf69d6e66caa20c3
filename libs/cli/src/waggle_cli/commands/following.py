"""`waggle tasks follow` and `waggle tasks events`: what a handler emits, and what happens to tasks, live."""

import json
from typing import Annotated

from cyclopts import Parameter

from waggle_cli.commands.parameters import OfQueue, OfTypes, Status, TaskId, Url

Lines = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]


def follow(task_id: TaskId, /, *, lines: Lines = False, url: Url = "") -> int:
    """Show what the handler of a task emits (`ctx.emit`), until the task comes to rest; the exit code is 1 unless it completed.

    Texts are printed as they are, one behind the other; other values as JSON, one per line.

    Parameters
    ----------
    task_id
        The id of the task.
    lines
        Every value as a line of JSON with its attempt, number and time.
    """
    import sys

    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import show
    from waggle_cli.views.terminal import printable

    status, at_start = "", True
    with session("waggle tasks follow", url) as api:
        for event in api.events("tasks", task_id, "stream"):
            match event.name:
                case "end":
                    status = event.data["status"]
                case "attempt":
                    if not lines and event.data["attempt"] > 1:
                        print(f"{'' if at_start else chr(10)}-- attempt {event.data['attempt']} --", file=sys.stderr)
                case _ if lines:
                    show.write(json.dumps(event.data, ensure_ascii=False).encode() + b"\n")
                case _:
                    value = event.data["value"]
                    text = "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else json.dumps(value, ensure_ascii=False) + "\n"
                    at_start = text.endswith("\n")
                    show.write(text.encode())
        if not at_start and not lines:
            show.write(b"\n")
    print(f"the task is {status}", file=sys.stderr)
    return Exit.OK if status == "completed" else Exit.REFUSED


def events(*, status: list[Status] | None = None, type_: OfTypes = None, queue: OfQueue = None, url: Url = "") -> int:
    """Show what happens to tasks from now on, a line of JSON each, until Ctrl-C. Events are hints: one can be lost.

    Parameters
    ----------
    status
        Only changes to this status. May be repeated.
    type_
        Only tasks of this type. May be repeated.
    queue
        Only tasks in this queue.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import show

    with session("waggle tasks events", url) as api:
        for event in api.events("events", status=status, type=type_, queue=queue):
            show.write(json.dumps(event.data, ensure_ascii=False).encode() + b"\n")
    return Exit.OK
