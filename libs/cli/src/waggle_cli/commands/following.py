"""`waggle tasks follow`, `events` and `ended`: what a handler emits, what happens to tasks, and which came to rest, live."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from waggle_cli.commands.parameters import EndStatus, Flag, Moment, OfQueue, OfTypes, Status, TaskId, Url

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
    """Show what happens to tasks from now on, a line of JSON each, until Ctrl-C. Events are hints: one can be lost. `waggle tasks ended` misses none.

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


def ended(
    *,
    status: list[EndStatus] | None = None,
    type_: OfTypes = None,
    queue: OfQueue = None,
    since: Moment = None,
    keep: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    once: Flag = False,
    url: Url = "",
) -> int:
    """Show every task that comes to rest, a line of JSON each, in the order of their ends, until Ctrl-C. None is missed.

    Parameters
    ----------
    status
        Only tasks that came to this status. May be repeated.
    type_
        Only tasks of this type. May be repeated.
    queue
        Only tasks in this queue.
    since
        Begin with those that came to rest after this time; the default is now, by this machine's clock.
    keep
        Keep the place in this file, and go on there after a restart; then --since does not count. What came to rest in the 30 s before is shown again.
    once
        End when there are no more by now.
    """
    from datetime import UTC, datetime

    from waggle_cli.commands.session import Exit, session
    from waggle_cli.rest.ended import EndReader
    from waggle_cli.views import show

    place = {"updated_after": since or datetime.now(UTC).isoformat()}
    if keep is not None:
        place = _kept(keep) or place
        _keep(keep, place)  # a file that cannot be written is found out now
    with session("waggle tasks ended", url) as api:
        reader = EndReader(api, {"status": status, "type": type_, "queue": queue}, place)
        for batch in reader.until_now() if once else reader.forever():
            if batch.tasks:
                show.write(b"".join(task + b"\n" for task in batch.tasks))
            if keep is not None:
                _keep(keep, {"cursor": batch.cursor})
    return Exit.OK


def _kept(file: Path) -> dict[str, str] | None:
    """Where the file says that it goes on. A file that says nothing of that ends the command."""
    import msgspec

    from waggle_cli.commands.session import fail

    try:
        return {**msgspec.json.decode(file.read_bytes(), type=dict[Literal["cursor", "updated_after"], str])}
    except FileNotFoundError:
        return None
    except OSError as error:
        fail("waggle tasks ended", f"{file} cannot be read: {error.strerror}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        fail("waggle tasks ended", f"{file} is no file that `--keep` has written")


def _keep(file: Path, place: dict[str, str]) -> None:
    """Replace the file as a whole, so that a kill leaves the old place or the new one. A file that cannot be written ends the command."""
    import os

    from waggle_cli.commands.session import fail

    beside = file.with_name(file.name + ".new")
    try:
        with beside.open("w") as opened:
            opened.write(json.dumps(place) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
    except OSError as error:
        fail("waggle tasks ended", f"the place cannot be kept in {file}: {error.strerror}")
