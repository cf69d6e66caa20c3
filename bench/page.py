"""The figures as one table for people, and as one JSON object for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.text import Text

import machine
from machine import Load
from measures import Asked, Figure, Verdict
from running import Run
from waggle_cli.views.terminal import printable

MARKS: Final = {
    Verdict.UNASKED: ("", ""),
    Verdict.MET: ("✓ met", "green"),
    Verdict.SO_FAR: ("✓ so far", "green"),
    Verdict.MISSED: ("✗ missed", "bold red"),
}
GAP: Final = 2
INDENT: Final = "  "
NARROW: Final = 60  # the narrowest terminal

Row = tuple[Text, Text, Text, Text]
TITLES: Final[Row] = (Text(), Text("measured", style="bold"), Text("target", style="bold"), Text())


@dataclass(frozen=True)
class Findings:
    began: datetime
    full: bool
    cpu: str
    memory_gb: float
    load: Load
    versions: dict[str, str]
    runs: Sequence[Run]

    @property
    def failed(self) -> list[Run]:
        return [run for run in self.runs if run.error]

    @property
    def verdicts(self) -> Counter[Verdict]:
        return Counter(figure.verdict for run in self.runs for figure in run.figures)


def page(found: Findings, width: int) -> Text:
    """The whole table. Only the line of a long command may be wider than `width`."""
    widths = columns([TITLES, *(row(figure) for run in found.runs for figure in run.figures)], width)
    lines = [*head(found, width), Text()]
    if any(run.figures for run in found.runs):
        lines.append(line(TITLES, widths))
    for run in found.runs:
        lines += [*heading(run, width), *body(run, widths, width), Text()]
    return Text("\n").join([*lines, *summary(found, width)])


def head(found: Findings, width: int) -> Iterator[Text]:
    load = found.load
    yield Text.assemble(("Benchmarks of Waggle", "bold"), f"  {found.began:%Y-%m-%d %H:%M} UTC, {'full' if found.full else 'usual'} sizes")
    averages = " ".join(f"{average:.2f}" for average in load.averages)
    yield from fold(f"{found.cpu}, {load.cores} cores, {found.memory_gb} GB; load average {averages} at the start", width)
    yield from fold(", ".join(f"{name} {version}" for name, version in found.versions.items()), width)
    if load.warning:
        yield from fold(f"! {load.warning}", width, "yellow")


def heading(run: Run, width: int) -> Iterator[Text]:
    """The program, and the command that repeats it."""
    name = Text(run.program.name, style="bold")
    took = Text(f"{run.seconds:.0f} s", style="dim")
    if run.error:
        took.append("  ").append("✗ failed", style="bold red")
    short, long = Text.assemble(name, "  ", took), Text.assemble(name, "  ", (run.call.command, "cyan"), "  ", took)
    yield from (long,) if long.cell_len <= width else (short, Text.assemble(INDENT, (run.call.command, "cyan")))
    if machine.disturbing(run.others):
        yield from fold(f"! other programs used {run.others:.1f} cores meanwhile", width, "yellow", INDENT)


def body(run: Run, widths: Sequence[int], width: int) -> Iterator[Text]:
    """A line for each figure, and the error if the program failed."""
    for figure in run.figures:
        what, *others = row(figure)
        if what.cell_len > widths[0]:  # on its own line
            yield what
            what = Text()
        yield line((what, *others), widths)
        if figure.note:
            yield from fold(figure.note, width, "dim", INDENT * 2)
    for text in run.error.splitlines():
        yield from fold(printable(text), width, "red", INDENT + " " * (len(text) - len(text.lstrip())))


def row(figure: Figure) -> Row:
    mark, style = MARKS[figure.verdict]
    return Text(INDENT + figure.what), Text(f"{number(figure.value)} {figure.unit}"), Text(asked(figure.asked)), Text(mark, style=style)


def asked(target: Asked | None) -> str:
    if target is None:
        return ""
    return f"{target.relation} {number(target.limit)}" + (f" at {short(target.size)}" if target.size else "")


def number(value: float) -> str:
    """Three significant digits, or all digits before the decimal point."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def short(size: int) -> str:
    return f"{size // 1_000_000} M" if size % 1_000_000 == 0 else f"{size:,}"


def columns(rows: Sequence[Row], width: int) -> list[int]:
    """The width of each column: what it needs; the first column is narrowed if the table would be too wide."""
    needed = [max(each[at].cell_len for each in rows) for at in range(4)]
    others = sum(needed[1:]) + 3 * GAP
    return [min(needed[0], max(width, NARROW) - others), *needed[1:]]


def line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    made = Text()
    for cell, wide in zip(cells, widths, strict=True):
        shown = cell.copy()
        shown.truncate(wide, overflow="ellipsis", pad=True)
        made.append_text(shown).append(" " * GAP)
    made.rstrip()
    return made


def fold(text: str, width: int, style: str = "", indent: str = "") -> Iterator[Text]:
    """Wrap text."""
    made = indent
    for word in text.split():
        if made.strip() and len(made) + 1 + len(word) > width:
            yield Text(made, style=style)
            made = indent
        made += f" {word}" if made.strip() else word
    yield Text(made, style=style)


def summary(found: Findings, width: int) -> Iterator[Text]:
    counts = found.verdicts
    met, so_far, missed = counts[Verdict.MET], counts[Verdict.SO_FAR], counts[Verdict.MISSED]
    said = f"{met + so_far + missed} targets: {met} met, {missed} missed"
    if so_far:
        said += f", {so_far} met so far (with fewer rows than the target asks for)"
    yield from fold(said, width, "red" if missed else "green")
    if found.failed:
        yield from fold(f"failed: {', '.join(run.program.name for run in found.failed)}", width, "bold red")


def document(found: Findings) -> dict[str, object]:
    """The JSON object; `lines` are the JSON lines as the program printed them."""
    return {
        "began": f"{found.began:%Y-%m-%dT%H:%M:%SZ}",
        "full": found.full,
        "machine": {"cpu": found.cpu, "cores": found.load.cores, "memory_gb": found.memory_gb},
        "load": {"averages": found.load.averages, "busy_cores": found.load.busy, "warning": found.load.warning},
        "versions": found.versions,
        "programs": [_program(run) for run in found.runs],
    }


def _program(run: Run) -> dict[str, object]:
    return {
        "name": run.program.name,
        "command": run.call.command,
        "seconds": run.seconds,
        "others_cores": run.others,
        "error": run.error,
        "figures": [_figure(figure) for figure in run.figures],
        "lines": run.lines,
    }


def _figure(figure: Figure) -> dict[str, object]:
    target = figure.asked and {"relation": figure.asked.relation, "limit": figure.asked.limit, "size": figure.asked.size}
    return {"what": figure.what, "value": figure.value, "unit": figure.unit, "asked": target, "verdict": figure.verdict.value, "note": figure.note}
