"""From a log event to its line, whatever its values are: a value that cannot be shown is named, one that is too long is cut."""

import json
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

VALUE_LENGTH: Final = 16 << 10
LINE_LENGTH: Final = 64 << 10
FIRST_LENGTH: Final = 1 << 10
FIRST: Final = ("event", "level", "timestamp", "service", "task_id", "task_type", "attempt", "logger")  # fields that a cut line keeps

Event = MutableMapping[str, Any]


class Line:
    """The last processor: renders an event as JSON, or for the console. Never raises."""

    def __init__(self, *, console: bool, colors: bool = False) -> None:
        self._render: Any = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback) if console else self._json

    def __call__(self, logger: Any, name: str, event: Event) -> str:
        try:
            shown = {key: cut(value) for key, value in event.items()}
            line: str = self._render(logger, name, dict(shown))
            if len(line) <= LINE_LENGTH:
                return line
            kept: dict[str, str] = {key: text(shown[key])[:FIRST_LENGTH] for key in FIRST if key in shown}
            kept["fields_dropped"] = f"the line has {len(line)} characters, the limit is {LINE_LENGTH}"
            return str(self._render(logger, name, kept))
        except Exception:  # whatever a value's own conversion raises
            return json.dumps({text(key): showable(value) for key, value in event.items()})

    @staticmethod
    def _json(_logger: Any, _name: str, event: Event) -> str:
        return json.dumps(event, default=repr)


def cut(value: Any) -> Any:
    """A long text without its end."""
    if isinstance(value, (str, bytes)) and len(value) > VALUE_LENGTH:
        return f"{value[:VALUE_LENGTH]!s}… ({len(value)} characters)"
    return value


def showable(value: Any) -> Any:
    """A value that JSON can hold; where its own conversion raises, its type."""
    try:
        written = json.dumps(value, default=repr)
        return json.loads(written) if len(written) <= VALUE_LENGTH else cut(written)
    except Exception:  # a circular value, a key that is no text, a conversion that raises
        return text(value)


def text(value: object) -> str:
    """The text of anything. Never raises."""
    for shown in (str, repr):
        try:
            return str(cut(shown(value)))
        except Exception:  # noqa: S112  # a user's own class may raise here
            continue
    return f"<a {type(value).__name__} that cannot be shown>"
