"""The report of an audit, for people and for programs."""

import json
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from waggle.audit.conditions import CONDITIONS, Violation
from waggle.audit.rounds import AuditReport
from waggle_cli.views import show
from waggle_cli.views.words import count, plain

DONE: Final = {
    "row": "rows corrected",
    "lost": "taken back",
    "overdue": "failed at their deadline",
    "unrung": "rung",
    "orphan": "rung again",
    "stray": "doorbells removed",
}


def as_json(report: AuditReport) -> None:
    seen = report.seen
    found = {
        "holds": seen.holds,
        "tasks": seen.tasks,
        "doorbells": seen.doorbells,
        "seconds": round(report.seconds, 3),
        "conditions": [_item(name, found) for name, found in seen.found.items()],
        "notes": seen.notes,
        "repaired": report.repaired,
        "corrected": {str(task): changes for task, changes in report.corrected.items()},
    }
    show.raw(json.dumps(found, ensure_ascii=False).encode())


def _item(name: str, found: Violation) -> dict[str, Any]:
    condition = CONDITIONS[name]
    item: dict[str, Any] = {"name": name, "holds": not found.count, "count": found.count}
    if found.count:
        item |= {"at_least": found.at_least, "what": condition.broken, "examples": found.examples, "advice": condition.advice}
    return item


def as_table(report: AuditReport) -> None:
    """A line for each condition; below a broken one, examples and advice."""
    seen, table = report.seen, Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, found in seen.found.items():
        condition = CONDITIONS[name]
        if not found.count:
            table.add_row(Text("✓", style="green"), name, plain(condition.holds))
            continue
        table.add_row(Text("✗", style="bold red"), name, plain(f"{found.count:,}{' or more' if found.at_least else ''}: {condition.broken}"))
        table.add_row("", "", plain(f"{', '.join(found.examples)}{', …' if found.count > len(found.examples) else ''}", "dim"))
        table.add_row("", "", plain(f"→ {condition.advice}", "bold red"))
    for note in seen.notes:
        table.add_row(Text("-", style="dim"), "", plain(note, "dim"))
    console = show.console()
    console.print(table)
    for task, changes in report.corrected.items():
        console.print(plain(f"corrected {task}: {changes}"))
    if report.repaired:
        done = [f"{number:,} {DONE[name]}" for name, number in report.repaired.items() if number]
        console.print(Text(f"\nrepaired: {', '.join(done) or 'nothing'}"))
    console.print(_summary(report))


def _summary(report: AuditReport) -> Text:
    broken = [name for name, found in report.seen.found.items() if found.count]
    what = "Everything holds" if not broken else f"{len(broken)} of {len(CONDITIONS)} conditions do not hold"
    size = f"{count(report.seen.tasks, 'task')}, {count(report.seen.doorbells, 'doorbell')}, {report.seconds:.1f} s."
    return Text(f"\n{what}: {size}", style="bold red" if broken else "green")
