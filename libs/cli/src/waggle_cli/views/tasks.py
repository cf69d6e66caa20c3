"""Tasks for people: a line, a list, a card with the timeline."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.text import Text

from waggle_cli.rest.shapes import Json, TaskErrorJson, TaskJson
from waggle_cli.views import explain, show
from waggle_cli.views.terminal import printable
from waggle_cli.views.words import age, at, duration, json_text, lines, plain, present, priority, relative, status, time

NOTE_WIDTH: Final = 120
SPARE: Final = ("QUEUE", "PRIORITY")


def line(done: str, task: TaskJson) -> None:
    """What was done to a task, and its status now."""
    show.say(f"{done} {task['id']}  {printable(task['type'])}  ", status(task["status"]))


def table(tasks: Sequence[TaskJson]) -> None:
    """Tasks, one per line."""
    moment = present()
    show.table([row(task, moment) for task in tasks], spare=SPARE)


def dead_table(tasks: Sequence[TaskJson]) -> None:
    """Dead letters, one per line: when they died, and why."""
    moment = present()
    show.table([_dead_row(task, moment) for task in tasks], spare=("QUEUE", "CODE"))


def row(task: TaskJson, moment: datetime) -> dict[str, Text]:
    """A line of a list, by column."""
    return {
        "ID": Text(task["id"]),
        "TYPE": plain(task["type"]),
        "STATUS": status(task["status"]),
        "QUEUE": plain(task["queue"]),
        "PRIORITY": Text(priority(task["priority"])),
        "AGE": Text(age(task["created"], moment)),
        "NOTE": Text(printable(note(task, moment))[:NOTE_WIDTH]),
    }


def _dead_row(task: TaskJson, moment: datetime) -> dict[str, Text]:
    error = task.get("error")
    return {
        "ID": Text(task["id"]),
        "TYPE": plain(task["type"]),
        "QUEUE": plain(task["queue"]),
        "DIED": Text(age(task["updated"], moment)),
        "CODE": plain(error["code"] if error else ""),
        "ERROR": Text(printable(note(task, moment))[:NOTE_WIDTH]),
    }


def card(task: TaskJson, events: Sequence[Json]) -> None:
    """One task with everything known about it, and its timeline."""
    title = Text.assemble((printable(task["type"]), "bold"), "  ", status(task["status"]))
    show.card(title, _facts(task, present()), Text("\ntimeline\n", style="bold"), explain.timeline(task, events))


def _facts(task: TaskJson, moment: datetime) -> Iterator[tuple[str, Text]]:
    """The facts on a task's card. Empty ones are left out."""
    waits = task["status"] == "pending" and time(task["run_at"]) > moment
    facts = {
        "id": task["id"],
        "queue": f"{task['queue']}, priority {priority(task['priority'])}",
        "created": at(task["created"], moment),
        "due" if task["retry_count"] == 0 else "next try": at(task["run_at"], moment) if waits else "",
        "started": at(task.get("started_at"), moment),
        "ended": at(task["updated"] if task["status"] == "dead_letter" else task.get("completed_at"), moment),
        "deadline": at(task.get("deadline"), moment),
        "retries": f"{task['retry_count']} of {task['max_retries']}",
        "timeout": f"{duration(timedelta(seconds=task['timeout']))} a try",
        "unique key": task.get("unique_key", ""),
        "description": task["description"],
    }
    yield from ((name, plain(value)) for name, value in facts.items() if value)
    if task["metadata"]:
        yield "metadata", json_text(task["metadata"])
    yield from ((name.replace("_", " "), json_text(value)) for name in ("payload", "original_payload", "result") if (value := task.get(name)) is not None)
    if "error" in task:
        yield "error", _error(task["error"])


def _error(error: TaskErrorJson) -> Text:
    """An error with its details; the traceback stays as it was."""
    details = dict(error.get("details", {}))
    trace = str(details.pop("traceback", ""))
    if trace:
        details.pop("exception", None)  # its last line
    text = Text(printable(f"{error['code']}: {error['message']}"), style="red")
    if trace:
        text.append("\n" + lines(trace, last=True), style="dim")
    if details:
        text.append("\n").append_text(json_text(details))
    if action := error.get("alternativeAction"):
        text.append("\n" + printable(action), style="dim")
    return text


def note(task: TaskJson, moment: datetime) -> str:
    """The note of a task in a list: what it waits for, how long it runs or ran, or why it failed."""
    message = task["error"]["message"].partition("\n")[0] if "error" in task else ""
    match task["status"]:
        case "pending" if time(task["run_at"]) > moment:
            when = relative(time(task["run_at"]), moment)
            return f"retry {task['retry_count']} of {task['max_retries']} {when}: {message}" if message else f"due {when}"
        case "pending":
            return ""
        case "running":
            return f"for {duration(moment - time(task['started_at']))}" if "started_at" in task else ""
        case "completed":
            return f"took {duration(time(task['completed_at']) - time(task['started_at']))}" if "started_at" in task and "completed_at" in task else ""
        case _:
            return message
