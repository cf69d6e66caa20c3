"""What a handler writes through `ctx.log`, kept with its attempt: the first lines, up to a number and a size; the rest is only counted."""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from waggle.errors import storable
from waggle.telemetry.log_lines import text

OWN: Final = frozenset({"event", "level", "timestamp", "task_id", "task_type", "attempt", "service", "exc_info", "trace_id", "span_id", "logger"})

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class LogLimits(NamedTuple):
    """How many lines are kept with an attempt, and how many bytes they have together."""

    lines: int
    size: int


class AttemptLog:
    """The lines of one attempt as JSON, `{at, level, event, fields}` each. One thread, or one event loop, writes; others may read."""

    __slots__ = ("_bytes", "_left", "_limits", "_lines")

    def __init__(self, limits: LogLimits) -> None:
        self._limits = limits
        self._lines: list[bytes] = []
        self._bytes = self._left = 0

    def add(self, event: dict[str, Any]) -> None:
        """Keep a line of structlog. Never raises: what a handler logs must not fail it."""
        if len(self._lines) >= self._limits.lines or self._bytes >= self._limits.size:
            self._left += 1
            return
        line = _line(event)
        if self._bytes + len(line) > self._limits.size:
            self._left += 1
            return
        self._lines.append(line)
        self._bytes += len(line)

    def text(self) -> str | None:
        """All lines as a JSON array, None without one. The last says how many more there were."""
        lines = list(self._lines)
        if not lines and not self._left:
            return None
        if self._left:
            lines.append(_encode({"at": datetime.now(UTC), "level": "warning", "event": f"{self._left} more lines were not kept"}))
        return "[" + b",".join(lines).decode() + "]"


def _line(event: dict[str, Any]) -> bytes:
    fields = {text(name): value for name, value in event.items() if name not in OWN}
    line = {"at": datetime.now(UTC), "level": event.get("level", "info"), "event": text(event.get("event", ""))}
    try:
        return _encode({**line, "fields": fields} if fields else line)
    except Exception:  # whatever a value's own conversion raises
        return _encode({**line, "event": storable(line["event"]), "fields": {"unreadable": [storable(name) for name in sorted(fields)[:20]]}})
