"""`waggle tasks watch`: looks again and again, and shows what changed."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from waggle_cli import names, show, task_views
from waggle_cli.client import AT_REST, Client, Problem, Unreachable, passes
from waggle_cli.lists import raw_items
from waggle_cli.session import Exit
from waggle_cli.shapes import Task
from waggle_cli.terminal import printable
from waggle_cli.words import count, present, status

MOST: Final = 200
OFTEN: Final = 0.1
AROUND: Final = 4  # lines of a terminal that are not rows
UNFINISHED: Final = ("pending", "running")

Look = list[tuple[Task, bytes]]
"""Tasks, the newest first, each with its JSON as it came."""
Shown = Callable[[Look], None]


def watch(api: Client, ids: Sequence[str], query: dict[str, Any], *, until_done: bool, limit: int, every: float, output: str) -> int:
    """Look until all is done, or until Ctrl-C. Raises Unreachable or Problem when the very first look fails."""
    some = went_wrong = False
    try:
        with _shown(output) as shown:
            for look in _looks(api, ids, query, limit, every):
                shown(look)
                some = some or bool(look)
                went_wrong = went_wrong or any(task["status"] in AT_REST and task["status"] != "completed" for task, _ in look)
                if until_done and _done(api, look, query, by_filter=not ids):
                    break
    except KeyboardInterrupt:
        return 130 if until_done else Exit.OK
    if not some and output == "table" and not sys.stdout.isatty():
        show.say(names.no_tasks(api, query, None))
    return Exit.REFUSED if went_wrong else Exit.OK


def _looks(api: Client, ids: Sequence[str], query: dict[str, Any], limit: int, every: float) -> Iterator[Look]:
    """What there is, each time; an API that goes away between two looks is waited for."""
    before: Look | None = None
    while True:
        try:
            before = _by_id(api, ids, before or []) if ids else _by_filter(api, query, limit, before or [])
        except (Unreachable, Problem) as error:
            if before is None or not passes(error):
                raise
        else:
            yield before
        time.sleep(every)


def _by_id(api: Client, ids: Sequence[str], before: Look) -> Look:
    """Those that rest are not asked for again."""
    rests = {task["id"]: (task, text) for task, text in before if task["status"] in AT_REST}
    return [rests.get(id_) or _one(api, id_) for id_ in ids]


def _by_filter(api: Client, query: dict[str, Any], limit: int, before: Look) -> Look:
    """The newest that fit, and what became of those that fitted a moment ago and had not ended."""
    answer = api.get("tasks", **query, limit=limit)
    look: Look = list(zip(answer.value["items"], raw_items(answer), strict=True))
    there = {task["id"] for task, _ in look}
    left = [task["id"] for task, _ in before if task["id"] not in there and task["status"] in UNFINISHED]
    return look + [found for id_ in left[:limit] if (found := _still(api, id_))]


def _one(api: Client, id_: str) -> tuple[Task, bytes]:
    answer = api.task(id_)
    return answer.value, answer.raw


def _still(api: Client, id_: str) -> tuple[Task, bytes] | None:
    """None for a task that was purged meanwhile."""
    try:
        return _one(api, id_)
    except Problem as error:
        if error.status == 404:
            return None
        raise


def _done(api: Client, look: Look, query: dict[str, Any], *, by_filter: bool) -> bool:
    """Whether nothing of it waits or runs: of a filter also what is older than the newest that are shown."""
    if any(task["status"] in UNFINISHED for task, _ in look):
        return False
    wanted = [name for name in UNFINISHED if name in (query["status"] or UNFINISHED)] if by_filter else []
    return not wanted or not api.get("tasks", **{**query, "status": wanted}, limit=1).value["items"]


@contextmanager
def _shown(output: str) -> Iterator[Shown]:
    """How looks are shown: a live table on a terminal, else a line for each change."""
    if output == "table" and sys.stdout.isatty():
        console = show.console()
        with Live(console=console, auto_refresh=False) as live:

            def table(look: Look) -> None:
                live.update(_picture([task for task, _ in look], console.width, console.height - AROUND), refresh=True)

            yield table
        return
    told: dict[str, tuple[object, ...]] = {}

    def changes(look: Look) -> None:
        for gone in told.keys() - {task["id"] for task, _ in look}:
            del told[gone]
        for task, text in reversed(look):
            now = (task["status"], task["attempt"], task["retry_count"])
            if told.get(task["id"]) != now:
                told[task["id"]] = now
                show.write(text + b"\n" if output != "table" else _line(task).encode(errors="replace"))

    yield changes


def _picture(tasks: list[Task], width: int, height: int) -> Group:
    """The newest tasks that fit, and how many of all that are watched stand how."""
    moment = present()
    counts = {name: sum(task["status"] == name for task in tasks) for name in dict.fromkeys(task["status"] for task in tasks)}
    parts = [part for name, number in counts.items() for part in (f"{number} ", status(name), "  ")]
    foot = Text.assemble(f"{moment.astimezone():%H:%M:%S}  ", *parts, ("Ctrl-C ends", "dim"), no_wrap=True, overflow="ellipsis")
    if not tasks:
        return Group(Text("No tasks like that yet."), foot)
    rows = [task_views.row(task, moment) for task in tasks[: max(height, 1)]]
    more = [Text(f"… and {count(len(tasks) - len(rows), 'more', 'more')}", style="dim")] if len(rows) < len(tasks) else []
    return Group(show.grid(rows, width, spare=(*task_views.SPARE, "AGE")), *more, foot)


def _line(task: Task) -> str:
    moment = present()
    words = [f"{moment.astimezone():%H:%M:%S}", task["id"], f"{task['status']:<11}", task["type"], task_views.note(task, moment)]
    return printable("  ".join(words)).rstrip() + "\n"
