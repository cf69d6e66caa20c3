"""What `waggle up` shows: its own lines, and readable ones for the warnings in its services' logs."""

import contextlib
import json
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

SHOWN: Final[Mapping[str, str]] = {"warning": "yellow", "error": "red", "critical": "bold red"}
SERIOUS: Final = ("error", "critical")
AT_ONCE: Final = 10
"""Lines of one log that are shown for one look at it; further ones are counted."""
READ_AT_ONCE: Final = 1 << 20
LONGEST: Final = 500


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


class Follower:
    """Follows a log of JSON lines and shows its warnings and errors."""

    def __init__(self, source: str, log: Path, offset: int) -> None:
        self.source, self.log = source, log
        self._offset, self._rest = offset, b""

    def show(self, terminal: Terminal, levels: Collection[str] = SHOWN.keys()) -> None:
        """Show what came since the last look, of these levels."""
        entries = [entry for line in self._lines() if (entry := parsed(line)) and entry.get("level") in levels]
        for entry in entries[:AT_ONCE]:
            terminal.line(self.source, str(entry["level"]), shortened(one_line(entry)))
        if len(entries) > AT_ONCE:
            terminal.line(self.source, "warning", f"… and {len(entries) - AT_ONCE} more such lines, see {self.log}")

    def _lines(self) -> list[bytes]:
        with contextlib.suppress(FileNotFoundError):
            size = self.log.stat().st_size
            if size < self._offset:  # begun anew
                self._offset, self._rest = 0, b""
            if size == self._offset:
                return []
            if size - self._offset > READ_AT_ONCE:
                self._offset, self._rest = size - READ_AT_ONCE, b""
            with self.log.open("rb") as file:
                file.seek(self._offset)
                new = file.read(size - self._offset)
            self._offset += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            self._rest = self._rest[-READ_AT_ONCE:]
            return lines
        return []


def parsed(line: bytes | str) -> dict[str, Any] | None:
    """A log line of a service; None for anything else."""
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and "level" in entry and "event" in entry:
            return entry
    return None


def one_line(entry: dict[str, Any]) -> str:
    """A log line for people: what happened, its fields, and the last word of a traceback."""
    skipped = {"timestamp", "level", "event", "service", "exception"}
    fields = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in entry.items() if key not in skipped)
    reason = "" if "error" in entry else str(entry.get("exception", "")).strip().rpartition("\n")[2]
    return "  ".join(part for part in (str(entry["event"]), fields, reason) if part)


def in_full(lines: str) -> str:
    """The lines of a log for people, tracebacks in full; what is not JSON stays as it is."""
    shown = []
    for line in lines.splitlines():
        entry = parsed(line)
        shown += [f"{entry['level']}: {one_line(entry)}", *str(entry.get("exception", "")).splitlines()] if entry else [line]
    return "\n".join(f"  {line}" for line in shown)


def printable(text: str) -> str:
    """One line without control characters: what a log holds was partly written by strangers, and a terminal obeys escape sequences."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
