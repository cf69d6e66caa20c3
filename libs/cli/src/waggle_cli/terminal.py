"""What `waggle up` shows: its own lines, and readable ones for the warnings in its services' logs."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

SHOWN: Final = {"warning": "yellow", "error": "red", "critical": "bold red"}
AT_ONCE: Final = 10
"""Lines of one log that are shown for one look at it; further ones are counted."""
READ_AT_ONCE: Final = 1 << 20
LONGEST: Final = 500


class Terminal:
    """Lines for people; plain when the output is not a terminal. A reader that went away does not matter."""

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError):
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a tick need not exist in the terminal's encoding
        self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

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
            self._console.print(Text.assemble((f"{source:<10}", "bold"), (f"{level:<8}", SHOWN.get(level, "")), shortened(printable(text))))


class Follower:
    """Follows a log of JSON lines and shows its warnings and errors."""

    def __init__(self, source: str, log: Path, offset: int) -> None:
        self.source, self.log = source, log
        self._offset, self._rest = offset, b""

    def show(self, terminal: Terminal) -> None:
        """Show what came since the last look."""
        found = [line for raw in self._lines() if (line := warning(raw))]
        for level, text in found[:AT_ONCE]:
            terminal.line(self.source, level, text)
        if len(found) > AT_ONCE:
            terminal.line(self.source, "warning", f"… and {len(found) - AT_ONCE} more such lines, see {self.log}")

    def _lines(self) -> list[bytes]:
        with contextlib.suppress(FileNotFoundError):
            size = self.log.stat().st_size
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


def warning(line: bytes) -> tuple[str, str] | None:
    """The level and a readable form of a log line that is a warning or worse; None for all others."""
    if b'"level"' not in line:
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in SHOWN:
        return None
    return str(entry["level"]), _readable(entry)


def _readable(entry: dict[str, Any]) -> str:
    skipped = {"timestamp", "level", "event", "service", "exception"}
    fields = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in entry.items() if key not in skipped)
    reason = str(entry.get("exception", "")).strip().rpartition("\n")[2]
    return "  ".join(part for part in (str(entry.get("event", "")), fields, reason) if part)


def printable(text: str) -> str:
    """One line without control characters: what a log holds was partly written by strangers, and a terminal obeys escape sequences."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
