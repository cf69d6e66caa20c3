"""The findings, for people and for programs."""

import json
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from waggle_cli.doctor.findings import Finding, Level, count
from waggle_cli.views import show
from waggle_cli.views.words import plain

MARKS: Final = {Level.OK: ("✓", "green"), Level.SKIPPED: ("-", "dim"), Level.WARNING: ("!", "yellow"), Level.ERROR: ("✗", "bold red")}

Found = Sequence[tuple[str, Finding]]


def as_json(found: Found) -> None:
    """`status` is the worst level; an item has `check`, `level`, `what` and, if there is some, `advice`."""
    items = [
        {"check": name, "level": finding.level.name.lower(), "what": finding.what, **({"advice": finding.advice} if finding.advice else {})}
        for name, finding in found
    ]
    show.raw(json.dumps({"status": _worst(found).name.lower(), "items": items}, ensure_ascii=False).encode())


def as_table(found: Found) -> None:
    """A line for each finding, its advice below it, and the number of errors and warnings."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, finding in found:
        mark, style = MARKS[finding.level]
        table.add_row(Text(mark, style=style), name, plain(finding.what))
        if finding.advice:
            table.add_row("", "", plain(f"→ {finding.advice}", "dim" if finding.level == Level.SKIPPED else style))
    console = show.console()
    console.print(table)
    console.print(_summary(found))


def _summary(found: Found) -> Text:
    levels = [finding.level for _, finding in found]
    errors, warnings = levels.count(Level.ERROR), levels.count(Level.WARNING)
    if errors or warnings:
        return Text(f"\n{count(errors, 'error')}, {count(warnings, 'warning')}", style=MARKS[_worst(found)][1])
    return Text("\nNo problems found.", style="green")


def _worst(found: Found) -> Level:
    worst = max(finding.level for _, finding in found)
    return worst if worst >= Level.WARNING else Level.OK
