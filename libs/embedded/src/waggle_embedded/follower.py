"""Follows the JSON logs of child processes and shows their warnings and errors, and what handlers log, one line each."""

import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Protocol

SHOWN: Final = ("warning", "error", "critical")
SERIOUS: Final = ("error", "critical")
LINES_AT_ONCE: Final = 10  # of one log; further ones are only counted
READ_BYTES: Final = 1 << 20
LINE_WIDTH: Final = 500


class Screen(Protocol):
    """Where the supervisor writes: the terminal, or a log."""

    def say(self, text: str, style: str = "") -> None:
        """Show a text."""

    def done(self, what: str, detail: str = "") -> None:
        """A step has finished."""

    def line(self, source: str, level: str, text: str) -> None:
        """A child wrote something, or something happened to it."""


class Follower:
    """Follows a log of JSON lines."""

    def __init__(self, source: str, log: Path, offset: int) -> None:
        self.source, self.log = source, log
        self._offset, self._rest = offset, b""

    def show(self, screen: Screen, levels: Collection[str] = SHOWN) -> None:
        """Show the new lines of these levels; with SHOWN, those of handlers too: `WAGGLE_LOG_LEVEL` has let them through."""
        entries = [
            entry for line in self._lines() if (entry := parsed(line)) and (entry.get("level") in levels or (levels is SHOWN and is_of_a_handler(entry)))
        ]
        for entry in entries[:LINES_AT_ONCE]:
            screen.line(self.source, str(entry["level"]), shortened(one_line(entry)))
        if len(entries) > LINES_AT_ONCE:
            screen.line(self.source, "warning", f"… and {len(entries) - LINES_AT_ONCE} more such lines, see {self.log}")

    def _lines(self) -> list[bytes]:
        with contextlib.suppress(FileNotFoundError):
            size = self.log.stat().st_size
            if size < self._offset:  # rotated
                self._offset, self._rest = 0, b""
            if size == self._offset:
                return []
            if size - self._offset > READ_BYTES:
                self._offset, self._rest = size - READ_BYTES, b""
            with self.log.open("rb") as file:
                file.seek(self._offset)
                new = file.read(size - self._offset)
            self._offset += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            self._rest = self._rest[-READ_BYTES:]
            return lines
        return []


def parsed(line: bytes | str) -> dict[str, Any] | None:
    """A log line of a service; None for anything else."""
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and "level" in entry and "event" in entry:
            return entry
    return None


def is_of_a_handler(entry: dict[str, Any]) -> bool:
    """Whether a handler wrote it, by `ctx.log` or by the standard logger. Lines of Waggle about a task name no logger."""
    return "logger" in entry and "task_id" in entry


def one_line(entry: dict[str, Any]) -> str:
    """A log line for people: the event, its fields, and the last line of a traceback."""
    skipped = {"timestamp", "level", "event", "service", "exception"}
    fields = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in entry.items() if key not in skipped)
    reason = "" if "error" in entry else str(entry.get("exception", "")).strip().rpartition("\n")[2]
    return "  ".join(part for part in (str(entry["event"]), fields, reason) if part)


def in_full(lines: str) -> str:
    """The lines of a log for people, with full tracebacks; lines that are not JSON stay as they are."""
    shown = []
    for line in lines.splitlines():
        entry = parsed(line)
        shown += [f"{entry['level']}: {one_line(entry)}", *str(entry.get("exception", "")).splitlines()] if entry else [line]
    return "\n".join(f"  {line}" for line in shown)


def shortened(text: str) -> str:
    return text if len(text) <= LINE_WIDTH else text[:LINE_WIDTH] + "…"
