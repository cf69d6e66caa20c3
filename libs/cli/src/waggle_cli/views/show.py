"""Output: tables and cards for people, JSON as the API sent it. Colours only on a terminal; output to a file or a pipe is never cut."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple, NoReturn, TextIO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from waggle_cli.views.terminal import SIGNS, has_sign
from waggle_cli.views.words import plain

READER_GONE: Final = 141  # 128 and SIGPIPE, as shells say of other programs
PIPED_WIDTH: Final = 10_000
GAP: Final = 2
LAST_COLUMN_WIDTH: Final = 24  # optional columns are left out to give the last one this width
INDENT: Final = 4  # of a second line
SHORTEST: Final = 12  # room that the last column has beside the others, else it has lines of its own
CUT: Final = 26  # a column is never cut below this width: a time fits

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
    except BrokenPipeError:
        end_without_reader()


def end_without_reader() -> NoReturn:
    """End quietly: the reader of standard output has gone, as in `waggle … | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(READER_GONE)


def say(*parts: str | Text) -> None:
    """A line for people. Foreign text must already be printable."""
    console().print(Text.assemble(*parts))


def table(rows: Sequence[Row], *, spare: Collection[str] = ()) -> None:
    """Rows below their titles, as `grid` lays them out on this terminal."""
    out = console()
    out.print(grid(rows, out.width, spare=spare), no_wrap=True, overflow="ignore", crop=False)


def grid(rows: Sequence[Row], width: int, *, spare: Collection[str] = ()) -> Text:
    """Rows below their titles. The first column is never cut; the columns in `spare` are left out on a narrow terminal, and those that still do not fit go
    on a second line. The last column gets the remaining width; a value that does not fit goes on lines of its own.
    """
    return Text("\n").join(line for block in blocks(rows, width, spare=spare) for line in block)


def untitled(rows: Sequence[Row], *, spare: Collection[str] = ()) -> Text:
    """Rows as in `grid`, indented and without their titles, on this terminal."""
    found = blocks(rows, console().width - GAP, spare=spare)[1:] if rows else []
    return Text("\n").join(Text(" " * GAP) + line for block in found for line in block)


def blocks(rows: Sequence[Row], width: int, *, spare: Collection[str] = (), whole: bool = True) -> list[list[Text]]:
    """The lines of the titles, and those of each row. Without `whole`, a last value that does not fit is cut to one line."""
    *_, last = rows[0]
    needed = {title: max(len(title), *(row[title].cell_len for row in rows)) for title in rows[0]}
    shape = fit(needed, width, spare)
    titles = {title: Text(title, style="bold") for title in rows[0]}
    if len(last) > shape.room:
        titles[last] = Text()
    return [_block(row, shape, last, width, whole=whole) for row in (titles, *rows)]


def _block(row: Row, shape: "Shape", last: str, width: int, *, whole: bool) -> list[Text]:
    lines = [_line(row, shape.widths)]
    if shape.moved:
        lines.append(Text(" " * INDENT) + _line(row, shape.moved))
    if row[last].cell_len <= shape.room:
        lines[-1] = Text.assemble(lines[-1], " " * GAP, row[last])
    elif row[last]:
        room = max(width - INDENT, 1)
        parts = row[last].wrap(console(), room, overflow="fold") if whole else [_cut(row[last], room)]
        lines += [Text(" " * INDENT) + part for part in parts]
    for line in lines:
        line.rstrip()
    return lines


def _line(row: Row, widths: Mapping[str, int]) -> Text:
    return Text(" " * GAP).join(_padded(row[title], wide) for title, wide in widths.items())


def _padded(text: Text, width: int) -> Text:
    shown = _cut(text, width)
    shown.pad_right(width - shown.cell_len)
    return shown


def _cut(text: Text, width: int) -> Text:
    if text.cell_len <= width:
        return text.copy()
    shown, mark = text.copy(), "…" if has_sign("…") else SIGNS["…"]
    shown.truncate(max(width - len(mark), 0))
    return shown.append(mark)


class Shape(NamedTuple):
    """The columns of the first and of the second line with their widths, and the width that is left for the last column."""

    widths: dict[str, int]
    moved: dict[str, int]
    room: int


def fit(needed: Mapping[str, int], width: int, spare: Collection[str]) -> Shape:
    """How a table fits, from the width that each column needs."""
    *others, last = needed
    shown = list(others)
    for title in reversed(others):
        if title in spare and _remaining(shown, needed, width) < min(LAST_COLUMN_WIDTH, needed[last]):
            shown.remove(title)
    shortest = {title: needed[title] if title == others[0] else min(needed[title], CUT) for title in shown}
    moved: list[str] = []
    while len(shown) > 1 and _remaining(shown, shortest, width) + GAP < 0:
        moved.insert(0, shown.pop())
    wanted = min(SHORTEST, needed[last])
    if moved or _remaining(shown, shortest, width) < wanted:  # the last column has lines of its own, whatever is cut
        wanted = -GAP
    widths = _shortened({title: needed[title] for title in shown}, shortest, wanted - _remaining(shown, needed, width))
    second = {title: min(needed[title], width - INDENT) for title in moved}
    if moved:
        second = _shortened(second, dict.fromkeys(moved, SHORTEST), -GAP - _remaining(moved, second, width - INDENT))
        room = _remaining(second, second, width - INDENT)
    else:
        room = _remaining(widths, widths, width)
    return Shape(widths, second, max(min(needed[last], room), 0))


def _shortened(widths: dict[str, int], shortest: Mapping[str, int], missing: int) -> dict[str, int]:
    """The widths without what is missing, taken from the widest columns; none becomes shorter than its shortest width."""
    found = dict(widths)
    for title in sorted(found, key=widths.__getitem__, reverse=True):
        cut = min(max(missing, 0), max(found[title] - shortest[title], 0))
        found[title] -= cut
        missing -= cut
    return found


def _remaining(shown: Iterable[str], widths: Mapping[str, int], width: int) -> int:
    return width - sum(widths[column] + GAP for column in shown)


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


class Output(Console):
    """Standard output: as it is on a terminal, else without blanks at the ends of lines."""

    def __init__(self, width: int | None = None) -> None:
        file = None if sys.stdout.isatty() else cast(IO[str], _WithoutBlanks(sys.stdout))
        super().__init__(file=file, highlight=False, markup=False, emoji=False, width=width)

    def on_broken_pipe(self) -> None:
        """rich would end the process as if the command were refused."""
        end_without_reader()


def console() -> Console:
    return Output(None if sys.stdout.isatty() else PIPED_WIDTH)


class _WithoutBlanks:
    """A pipe or a file, written without blanks at the ends of lines: rich fills the cells of its tables."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(_BLANKS.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)
