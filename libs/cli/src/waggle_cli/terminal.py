"""What `waggle up` shows: its own lines, and readable ones for the warnings in its services' logs."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

SHOWN: Final[Mapping[str, str]] = {"warning": "yellow", "error": "red", "critical": "bold red"}


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """`waggle up | head` goes on without a reader; the default would end us."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal:
    """Lines for people; plain when the output is not a terminal. A reader that went away does not matter."""

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError):
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a tick need not exist in the terminal's encoding
        self._console = _Output(highlight=False, soft_wrap=True, markup=False, emoji=False)

    def say(self, text: str, style: str = "") -> None:
        with contextlib.suppress(OSError):
            self._console.print(Text("\n".join(printable(line) for line in text.split("\n")), style=style))

    def done(self, what: str, detail: str = "") -> None:
        """A step that is finished."""
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble(("  ✓ ", "green"), (f"{what:<10}", "bold"), (detail, "dim")))

    def problem(self, text: str) -> None:
        self.say(text, "red")

    def line(self, source: str, level: str, text: str) -> None:
        """Something that a service wrote."""
        with contextlib.suppress(OSError):
            self._console.print(Text.assemble((f"{source:<10}", "bold"), (f"{level:<8}", SHOWN.get(level, "")), printable(text)))


def printable(text: str) -> str:
    """One line without control characters: what a log holds was partly written by strangers, and a terminal obeys escape sequences."""
    return "".join(character if character.isprintable() else " " for character in text)
