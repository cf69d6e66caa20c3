"""The terminal of `waggle up`: its own lines, and the warnings of its services. Also what makes foreign text safe to print."""

import atexit
import codecs
import contextlib
import io
import sys
from collections.abc import Mapping
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

LAST_SECONDS: Final = 1.0  # at the end, for lines that the terminal has not taken
SIGNS: Final[Mapping[str, str]] = {"…": "...", "✓": "+", "✗": "x", "→": "->"}  # for terminals that lack them
LEVEL_STYLES: Final[Mapping[str, str]] = {"warning": "yellow", "error": "red", "critical": "bold red"}


class _Unhurried(io.TextIOBase):
    """Standard output, written by a thread of its own: `waggle up | head` goes on without a reader, and so it does when nobody reads a full pipe."""

    def __init__(self) -> None:
        from waggle.telemetry.log_writer import LogWriter  # only `waggle up` needs it

        self._writer = LogWriter(sys.stdout.fileno(), "… {} lines are missing here".format, sys.stdout.encoding, "waggle")
        atexit.register(self._writer.flush, LAST_SECONDS)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stdout.encoding

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()

    def write(self, text: str) -> int:
        if text:
            self._writer.put(text.removesuffix("\n"))
        return len(text)


class Terminal:
    """Lines for people, without colours if the output is not a terminal. A closed output does not matter."""

    def __init__(self) -> None:
        write_any_text()
        self._console = Console(file=_output(), highlight=False, soft_wrap=True, markup=False, emoji=False)

    def say(self, text: str, style: str = "") -> None:
        with contextlib.suppress(OSError):
            self._console.print(Text("\n".join(printable(line) for line in text.split("\n")), style=style))

    def done(self, what: str, detail: str = "") -> None:
        """A step has finished."""
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble(("  ✓ ", "green"), (f"{what:<10}", "bold"), (detail, "dim")))

    def problem(self, text: str) -> None:
        self.say(text, "red")

    def line(self, source: str, level: str, text: str) -> None:
        """A service wrote something, or something happened to it."""
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble((f"{source:<10}", "bold"), (f"{level:<8}", LEVEL_STYLES.get(level, "")), printable(text)))


def _output() -> TextIO:
    try:
        return _Unhurried()  # type: ignore[return-value]  # all that rich asks of a file
    except (AttributeError, OSError, ValueError):  # a test has put something else there
        return sys.stdout


def write_any_text() -> None:
    """Let both outputs take every character: one that their encoding lacks is shown by another sign, or by its number."""
    codecs.register_error("waggle", _replaced)
    for out in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            out.reconfigure(errors="waggle")  # type: ignore[union-attr]


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(SIGNS.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text), error.end


def has_sign(sign: str) -> bool:
    """Whether the encoding of standard output has this sign."""
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def printable(text: str) -> str:
    """One line without control characters: foreign text may hold escape sequences, which a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in text)
