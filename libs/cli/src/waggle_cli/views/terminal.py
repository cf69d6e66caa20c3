"""The terminal of `waggle up`: its own lines, and the warnings of its services. Also what makes foreign text safe to print."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

LEVEL_STYLES: Final[Mapping[str, str]] = {"warning": "yellow", "error": "red", "critical": "bold red"}


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """`waggle up | head` continues without a reader; rich would end the process."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminal:
    """Lines for people, without colours if the output is not a terminal. A closed output does not matter."""

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError):
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # the terminal's encoding may have no tick
        self._console = _Output(highlight=False, soft_wrap=True, markup=False, emoji=False)

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


def printable(text: str) -> str:
    """One line without control characters: foreign text may hold escape sequences, which a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in text)
