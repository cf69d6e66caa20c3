"""Follows the JSON logs of child processes and shows their warnings and errors, one line each."""

import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Protocol

SHOWN: Final = ("warning", "error", "critical")
SERIOUS: Final = ("error", "critical")
AT_ONCE: Final = 10
"""Lines of one log that are shown for one look at it; further ones are counted."""
READ_AT_ONCE: Final = 1 << 20
LONGEST: Final = 500


class Screen(Protocol):
    """Where the supervisor and the followers write: the terminal, or a log."""

    def say(self, text: str, style: str = "") -> None:
        """Something for people."""

    def done(self, what: str, detail: str = "") -> None:
        """A step that is finished."""

    def line(self, source: str, level: str, text: str) -> None:
        """Something that a child wrote, or that happened to it."""


class Follower:
    """Follows a log of JSON lines and shows its warnings and errors."""

    def __init__(self, source: str, log: Path, offset: int) -> None:
        self.source, self.log = source, log
        self._offset, self._rest = offset, b""

    def show(self, screen: Screen, levels: Collection[str] = SHOWN) -> None:
        """Show what came since the last look, of these levels."""
        entries = [entry for line in self._lines() if (entry := parsed(line)) and entry.get("level") in levels]
        for entry in entries[:AT_ONCE]:
            screen.line(self.source, str(entry["level"]), shortened(one_line(entry)))
        if len(entries) > AT_ONCE:
            screen.line(self.source, "warning", f"… and {len(entries) - AT_ONCE} more such lines, see {self.log}")

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


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
