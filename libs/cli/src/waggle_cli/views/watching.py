"""The tasks that are watched: a live table on a terminal, otherwise a line for each change."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from waggle_cli.rest.shapes import TaskJson
from waggle_cli.rest.watching import Poll
from waggle_cli.views import show, tasks
from waggle_cli.views.terminal import printable
from waggle_cli.views.words import count, present, status

OTHER_LINES: Final = 4  # lines of the terminal that are not rows

Display = Callable[[Poll], None]


@contextmanager
def display(output: str) -> Iterator[Display]:
    """Yields a function that shows a poll."""
    console = show.console()
    if output == "table" and sys.stdout.isatty() and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:

            def table(poll: Poll) -> None:
                live.update(_picture([task for task, _ in poll], console.width, console.height - OTHER_LINES), refresh=True)

            yield table
        return
    known: dict[str, tuple[object, ...]] = {}

    def changes(poll: Poll) -> None:
        for gone in known.keys() - {task["id"] for task, _ in poll}:
            del known[gone]
        for task, text in reversed(poll):
            state = (task["status"], task["attempt"], task["retry_count"])
            if known.get(task["id"]) != state:
                known[task["id"]] = state
                show.write(text + b"\n" if output != "table" else _line(task).encode(errors="replace"))

    yield changes


def _picture(watched: list[TaskJson], width: int, height: int) -> Group:
    """The newest tasks that fit, and how many of all watched tasks have which status."""
    moment = present()
    counts = {name: sum(task["status"] == name for task in watched) for name in dict.fromkeys(task["status"] for task in watched)}
    parts = [part for name, number in counts.items() for part in (f"{number} ", status(name), "  ")]
    foot = Text.assemble(f"{moment.astimezone():%H:%M:%S}  ", *parts, ("Ctrl-C ends", "dim"), no_wrap=True, overflow="ellipsis")
    if not watched:
        return Group(Text("No matching tasks yet."), foot)
    titles, *rows = show.blocks([tasks.row(task, moment) for task in watched[: max(height, 1)]], width, spare=(*tasks.SPARE, "AGE"), whole=False)
    shown, lines = 0, titles
    while shown < len(rows) and (not shown or len(lines) + len(rows[shown]) <= height + 1):
        lines, shown = lines + rows[shown], shown + 1
    more = [Text(f"… and {count(len(watched) - shown, 'more', 'more')}", style="dim")] if shown < len(watched) else []
    return Group(Text("\n").join(lines), *more, foot)


def _line(task: TaskJson) -> str:
    moment = present()
    words = [f"{moment.astimezone():%H:%M:%S}", task["id"], f"{task['status']:<11}", task["type"], tasks.note(task, moment)]
    return printable("  ".join(words)).rstrip() + "\n"
