"""How tasks look in a terminal: tables and cards for people, JSON as the API sent it. What strangers wrote is shown without control characters."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from waggle_cli.client import Attempt, Task, TaskError
from waggle_cli.options import PRIORITIES
from waggle_cli.terminal import printable

STYLES: Final = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "dead_letter": "magenta",
    "snoozed": "yellow",
    "given_back": "yellow",
    "lost": "red",
    "deadline": "red",
}
PIPED_WIDTH: Final = 10_000  # what goes into a file or a pipe is not cut
LONGEST_NOTE: Final = 120
LONGEST_LINE: Final = 500
MOST_LINES: Final = 40
SHORT_JSON: Final = 60
WIDE: Final = 110
ROOM_PERMITTING: Final = ("QUEUE", "PRIORITY")
NO_TASKS: Final = """No tasks yet. Submit one: waggle tasks submit demo.echo --payload '{"hello": "world"}'"""
UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def raw(answer: bytes) -> None:
    """The API's JSON: indented on a terminal, else exactly as it came, one answer a line."""
    if sys.stdout.isatty():
        import msgspec

        answer = msgspec.json.format(answer, indent=2)
    try:
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def line(done: str, task: Task) -> None:
    """What was done to a task, and how it is now."""
    _console().print(Text.assemble(f"{done} {task['id']}  {printable(task['type'])}  ", status(task["status"])))


def table(tasks: Sequence[Task], *, narrowed: bool) -> None:
    """Tasks, a line each. When there are none, `narrowed` is whether there could be others."""
    if not tasks:
        _console().print("No tasks like that." if narrowed else NO_TASKS)
        return
    now, console = datetime.now(UTC), _console()
    rows = [_row(task, now) for task in tasks]
    titles = [title for title in rows[0] if title not in ROOM_PERMITTING or console.width >= WIDE]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        rigid = title != "NOTE"
        shown.add_column(title, no_wrap=True, overflow="ellipsis", min_width=max(len(row[title]) for row in rows) if rigid else None)
    for row in rows:
        shown.add_row(*(row[title] for title in titles))
    console.print(shown)


def _row(task: Task, now: datetime) -> dict[str, Text]:
    """A line of a list, by column."""
    return {
        "ID": Text(task["id"]),
        "TYPE": Text(printable(task["type"])),
        "STATUS": status(task["status"]),
        "QUEUE": Text(printable(task["queue"])),
        "PRIORITY": Text(priority(task["priority"])),
        "AGE": Text(duration(now - _time(task["created"]), short=True)),
        "NOTE": Text(printable(note(task, now))[:LONGEST_NOTE]),
    }


def card(task: Task, attempts: Sequence[Attempt]) -> None:
    """One task with all that is known of it, and its timeline."""
    now, console = datetime.now(UTC), _console()
    facts = _grid("dim", "")
    for name, value in _facts(task, now):
        facts.add_row(f"  {name}", value)
    timeline = _grid("", "", "dim", "", "dim", "")
    for row in _timeline(task, attempts):
        timeline.add_row(*row)
    console.print(Text.assemble("\n", (printable(task["type"]), "bold"), "  ", status(task["status"]), "\n"))
    console.print(facts)
    if timeline.row_count:
        console.print(Text("\nattempts\n", style="bold"))
        console.print(timeline)
    console.print()


def _facts(task: Task, now: datetime) -> Iterator[tuple[str, Text]]:
    """What a card says of a task, line by line. What is not there is left out."""

    def at(moment: str | None) -> str:
        return "" if moment is None else f"{exact(moment)}  ({relative(_time(moment), now)})"

    waits = task["status"] == "pending" and _time(task["run_at"]) > now
    plain = {
        "id": task["id"],
        "queue": f"{task['queue']}, priority {priority(task['priority'])}",
        "created": at(task["created"]),
        "due" if task["retry_count"] == 0 else "next try": at(task["run_at"]) if waits else "",
        "started": at(task.get("started_at")),
        "ended": at(task["updated"] if task["status"] == "dead_letter" else task.get("completed_at")),
        "deadline": at(task.get("deadline")),
        "retries": f"{task['retry_count']} of {task['max_retries']}",
        "timeout": f"{duration(timedelta(seconds=task['timeout']))} a try",
        "unique key": task.get("unique_key", ""),
        "description": task["description"],
    }
    yield from ((name, Text(printable(value))) for name, value in plain.items() if value)
    if task["metadata"]:
        yield "metadata", json_text(task["metadata"])
    yield from ((name, json_text(value)) for name in ("payload", "result") if (value := task.get(name)) is not None)
    if "error" in task:
        yield "error", _error(task["error"])


def _error(error: TaskError) -> Text:
    """An error with its details, the traceback as it was."""
    details = dict(error.get("details", {}))
    trace = str(details.pop("traceback", ""))
    if trace:
        details.pop("exception", None)  # its last line
    text = Text(printable(f"{error['code']}: {error['message']}"), style="red")
    if trace:
        text.append("\n" + _lines(trace, last=True), style="dim")
    if details:
        text.append("\n").append_text(json_text(details))
    if action := error.get("alternativeAction"):
        text.append("\n" + printable(action), style="dim")
    return text


def _timeline(task: Task, attempts: Iterable[Attempt]) -> Iterator[tuple[str | Text, ...]]:
    """The attempts that have ended, and the one that runs."""
    for attempt in attempts:
        started, ended = _time(attempt["started_at"]), _time(attempt["ended_at"])
        message = printable(attempt["error"]["message"]) if "error" in attempt else ""
        outcome = Text(printable(attempt["outcome"]), style=STYLES.get(attempt["outcome"], ""))
        yield f"  {attempt['attempt']}", outcome, exact(attempt["started_at"]), duration(ended - started), printable(attempt["worker_id"]), Text(message)
    if task["status"] == "running" and "started_at" in task:
        yield f"  {task['attempt']}", status("running"), exact(task["started_at"]), "", printable(task.get("worker_id", "")), ""


def note(task: Task, now: datetime) -> str:
    """What is worth knowing of a task in a list: what it waits for, how long it runs or ran, or why it failed."""
    message = task["error"]["message"].partition("\n")[0] if "error" in task else ""
    match task["status"]:
        case "pending" if _time(task["run_at"]) > now:
            when = relative(_time(task["run_at"]), now)
            return f"retry {task['retry_count']} of {task['max_retries']} {when}: {message}" if message else f"due {when}"
        case "pending":
            return ""
        case "running":
            return f"for {duration(now - _time(task['started_at']))}" if "started_at" in task else ""
        case "completed":
            return f"took {duration(_time(task['completed_at']) - _time(task['started_at']))}" if "started_at" in task and "completed_at" in task else ""
        case _:
            return message


def status(name: str) -> Text:
    return Text(printable(name), style=STYLES.get(name, "dim"))


def priority(number: int) -> str:
    return PRIORITIES[number] if 0 <= number < len(PRIORITIES) else str(number)


def exact(moment: str) -> str:
    """A point in time in this machine's time zone, to the second."""
    return _time(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def relative(moment: datetime, now: datetime) -> str:
    """How far a point in time is away. The machines' clocks may differ a little: what is near is now."""
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "just now"
    return f"in {duration(away)}" if away > timedelta() else f"{duration(-away)} ago"


def duration(length: timedelta, *, short: bool = False) -> str:
    """A length of time, as exact as one wants to read it: 61 ms, 2.5 s, 40 s, 1 min 10 s, 12 min, 3 h 5 min; `short` is without the second unit."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    index = next(index for index, (unit, _) in enumerate(UNITS) if seconds >= unit)
    (unit, name), (smaller, smaller_name) = UNITS[index], UNITS[min(index + 1, len(UNITS) - 1)]
    whole, rest = divmod(seconds, unit)
    more = f" {rest // smaller:.0f} {smaller_name}" if whole < 10 and rest >= smaller and not short else ""
    return f"{whole:.0f} {name}{more}"


def json_text(value: Any) -> Text:
    """JSON to read: on one line when it is short, else indented; a long one is cut."""
    line = json.dumps(value, ensure_ascii=False)
    text = Text(printable(line) if len(line) <= SHORT_JSON else _lines(json.dumps(value, ensure_ascii=False, indent=2)))
    JSONHighlighter().highlight(text)
    return text


def _lines(text: str, *, last: bool = False) -> str:
    """Printable lines, at most MOST_LINES of them, from the beginning or the end."""
    lines = [printable(line)[:LONGEST_LINE] for line in text.rstrip("\n").split("\n")]
    if len(lines) <= MOST_LINES:
        return "\n".join(lines)
    more = f"… ({len(lines) - MOST_LINES} more lines; -o json has them all)"
    return "\n".join([more, *lines[-MOST_LINES:]] if last else [*lines[:MOST_LINES], more])


def _time(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _grid(*styles: str) -> Table:
    """Columns without lines; the last one takes what does not fit."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for style in styles[:-1]:
        grid.add_column(style=style, no_wrap=True)
    grid.add_column(style=styles[-1], overflow="fold")
    return grid


def _console() -> Console:
    """Colours on terminals only; what goes elsewhere is not cut to a width."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
