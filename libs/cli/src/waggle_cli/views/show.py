"""Output: tables and cards for people, JSON as the API sent it. Colours only on a terminal; output to a file or a pipe is never cut."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import IO, Any, Final, TextIO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from waggle_cli.views.words import plain

PIPED_WIDTH: Final = 10_000
GAP: Final = 2
LAST_COLUMN_WIDTH: Final = 24  # optional columns are left out to give the last one this width
INDENT: Final = 4  # of a last column on its own line
SHORTEST: Final = 12  # a column is never cut below this width

Row = Mapping[str, Text]

_BLANKS: Final = re.compile(r"[ \t]+$", re.MULTILINE)


def raw(answer: bytes) -> None:
    """The API's JSON: indented on a terminal, otherwise exactly as it came, one answer per line."""
    if sys.stdout.isatty():
        import msgspec

        answer = msgspec.json.format(answer, indent=2)
    write(answer + b"\n")


def write(text: bytes) -> None:
    """Write bytes to standard output at once."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has closed its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def say(*parts: str | Text) -> None:
    """A line for people. Foreign text must already be printable."""
    console().print(Text.assemble(*parts))


def table(rows: Sequence[Row], *, spare: Collection[str] = ()) -> None:
    """Rows below their titles. The first column is never cut; the columns in `spare` are left out on a narrow terminal.

    The last column gets the remaining width; a value that does not fit goes on its own line.
    """
    out = console()
    out.print(grid(rows, out.width, spare=spare, below=True), no_wrap=True, overflow="ellipsis")


def grid(rows: Sequence[Row], width: int, *, spare: Collection[str] = (), below: bool = False) -> Text:
    """As `table`, but returned; without `below` the last column is cut."""
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
    """The columns that are shown, with their widths, from the width that each needs."""
    *others, last = needed
    shown = list(others)

    def remaining() -> int:
        return width - sum(needed[column] + GAP for column in shown)

    for title in reversed(others):
        if title in spare and remaining() < min(LAST_COLUMN_WIDTH, needed[last]):
            shown.remove(title)
    widths = {title: needed[title] for title in shown}
    missing = min(SHORTEST, needed[last]) - remaining()
    for title in sorted(shown[1:], key=needed.__getitem__, reverse=True):
        cut = min(max(missing, 0), max(widths[title] - SHORTEST, 0))
        widths[title] -= cut
        missing -= cut
    left = width - sum(wide + GAP for wide in widths.values())
    return {**widths, last: max(min(needed[last], left), 1)}


def card(title: Text, facts: Iterable[tuple[str, Text]], *more: Table | Text) -> None:
    """One item with everything known about it: names and values, then `more`."""
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
    """Facts for a card. Empty ones are left out; an underscore in a name becomes a space."""
    return [(name.replace("_", " "), value if isinstance(value, Text) else plain(value)) for name, value in values.items() if value not in ("", None)]


def columns(*styles: str) -> Table:
    """Columns without lines or titles; the last one wraps."""
    shown = Table.grid(padding=(0, GAP, 0, 0))
    for style in styles[:-1]:
        shown.add_column(style=style, no_wrap=True)
    shown.add_column(style=styles[-1], overflow="fold")
    return shown


def console() -> Console:
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(file=cast(IO[str], _WithoutBlanks(sys.stdout)), highlight=False, markup=False, emoji=False, width=PIPED_WIDTH)


class _WithoutBlanks:
    """A pipe or a file, written without blanks at the ends of lines: rich fills the cells of its tables."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(_BLANKS.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)
