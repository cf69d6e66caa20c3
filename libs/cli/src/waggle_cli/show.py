"""How answers reach the terminal: tables and cards for people, JSON as the API sent it. Colours on terminals only; what goes elsewhere is not cut."""

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from waggle_cli.words import plain

PIPED_WIDTH: Final = 10_000  # what goes into a file or a pipe is not cut
GAP: Final = 2
ROOM: Final = 24  # what the last column should have before others are left out for it
INDENT: Final = 4  # of a last column that stands on a line of its own
LEAST: Final = 12  # what is left at least of a column that is cut

Row = Mapping[str, Text]


def raw(answer: bytes) -> None:
    """The API's JSON: indented on a terminal, else exactly as it came, one answer a line."""
    if sys.stdout.isatty():
        import msgspec

        answer = msgspec.json.format(answer, indent=2)
    write(answer + b"\n")


def write(text: bytes) -> None:
    """Bytes for whoever reads standard output."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def say(*parts: str | Text) -> None:
    """A line for people; what strangers wrote is printable already."""
    console().print(Text.assemble(*parts))


def table(rows: Sequence[Row], *, spare: Collection[str] = ()) -> None:
    """Rows below their titles. The first column is never cut; those in `spare` are left out where the terminal is narrow.

    The last one takes what is left; where it does not fit, it goes on a line of its own.
    """
    out = console()
    out.print(grid(rows, out.width, spare=spare, below=True), no_wrap=True, overflow="ellipsis")


def grid(rows: Sequence[Row], width: int, *, spare: Collection[str] = (), below: bool = False) -> Text:
    """As `table`, to be shown by somebody else; without `below` the last column is cut."""
    *_, last = rows[0]
    needed = {title: max(len(title), *(row[title].cell_len for row in rows)) for title in rows[0]}
    widths = fit(needed, width, spare)
    lines = [_line({title: Text(title, style="bold") for title in widths}, widths)]
    for row in rows:
        if below and row[last].cell_len > widths[last]:
            lines += [_line({**row, last: Text()}, widths), Text.assemble(" " * INDENT, _cut(row[last], width - INDENT))]
        else:
            lines.append(_line(row, widths))
    return Text("\n").join(lines)


def _line(row: Row, widths: Mapping[str, int]) -> Text:
    line = Text(" " * GAP).join(_padded(row[title], wide) for title, wide in widths.items())
    line.rstrip()
    return line


def _padded(text: Text, width: int) -> Text:
    shown = _cut(text, width)
    shown.pad_right(width - shown.cell_len)
    return shown


def _cut(text: Text, width: int) -> Text:
    shown = text.copy()
    shown.truncate(max(width, 1), overflow="ellipsis")
    return shown


def fit(needed: Mapping[str, int], width: int, spare: Collection[str]) -> dict[str, int]:
    """The columns that are shown and how wide each is, from what each needs."""
    *others, last = needed
    shown = list(others)

    def room() -> int:
        return width - sum(needed[column] + GAP for column in shown)

    for title in reversed(others):
        if title in spare and room() < min(ROOM, needed[last]):
            shown.remove(title)
    widths = {title: needed[title] for title in shown}
    missing = min(LEAST, needed[last]) - room()
    for title in sorted(shown[1:], key=needed.__getitem__, reverse=True):
        cut = min(max(missing, 0), max(widths[title] - LEAST, 0))
        widths[title] -= cut
        missing -= cut
    left = width - sum(wide + GAP for wide in widths.values())
    return {**widths, last: max(min(needed[last], left), 1)}


def card(title: Text, facts: Iterable[tuple[str, Text]], *more: Table | Text) -> None:
    """One thing with all that is known of it: names and values, and what else there is below."""
    named = columns("dim", "")
    for name, value in facts:
        named.add_row(f"  {name}", value)
    out = console()
    out.print(Text.assemble("\n", title, "\n"))
    out.print(named)
    for part in more:
        out.print(part)
    out.print()


def fact(**values: object) -> Iterable[tuple[str, Text]]:
    """Facts for a card; what is empty is left out, and an underscore in a name is a space."""
    return [(name.replace("_", " "), value if isinstance(value, Text) else plain(value)) for name, value in values.items() if value not in ("", None)]


def columns(*styles: str) -> Table:
    """Columns without lines or titles; the last one takes what does not fit."""
    shown = Table.grid(padding=(0, GAP, 0, 0))
    for style in styles[:-1]:
        shown.add_column(style=style, no_wrap=True)
    shown.add_column(style=styles[-1], overflow="fold")
    return shown


def console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
