"""Progress of long work: a bar on standard error if that is a terminal, otherwise nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from waggle_cli.views.terminal import has_sign

Report = Callable[[int, str], None]


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Report]:
    """Yields a function to call with how much is done and a short note. Without a total the bar only counts."""
    if not sys.stderr.isatty():
        yield lambda _done, _note: None
        return
    columns = [BarColumn(), MofNCompleteColumn(separator=" of "), TimeRemainingColumn()] if total is not None else [TimeElapsedColumn()]
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    spinner = SpinnerColumn("dots" if has_sign("⠋") else "line")
    parts = (spinner, TextColumn("{task.description}"), *columns, TextColumn("{task.fields[note]}"))
    with Progress(*parts, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)
