"""The API's numbers, times and JSON as readable text. Pure functions; foreign text loses its control characters."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.highlighter import JSONHighlighter
from rich.text import Text

from waggle_cli.rest.shapes import PRIORITIES
from waggle_cli.views.terminal import printable

STYLES: Final = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "dead_letter": "magenta",
    "snoozed": "yellow",
    "given_back": "yellow",
    "lost": "red",
    "deadline": "red",
    "open": "red",
    "half_open": "yellow",
    "closed": "green",
    "active": "green",
    "disabled": "yellow",
    "revoked": "red",
    "expired": "dim",
    "paused": "yellow",
    "stopped": "red",
    "alive": "green",
    "draining": "yellow",
    "gone": "dim",
}
LINE_WIDTH: Final = 500
LINE_LIMIT: Final = 40
SHORT_JSON: Final = 60
DURATION_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def plain(value: object, style: str = "") -> Text:
    """A value on one line, without control characters."""
    return Text(printable(str(value)), style=style)


def status(name: str) -> Text:
    return Text(printable(name), style=STYLES.get(name, "dim"))


def priority(number: int) -> str:
    return PRIORITIES[number] if 0 <= number < len(PRIORITIES) else str(number)


def age(moment: str, now: datetime) -> str:
    """How long ago, in one unit: 12 min."""
    return duration(now - time(moment), short=True)


def at(moment: str | None, now: datetime) -> str:
    """A point in time and its distance from now; empty for None."""
    return "" if moment is None else f"{exact(moment)}  ({relative(time(moment), now)})"


def present() -> datetime:
    return datetime.now(UTC)


def exact(moment: str) -> str:
    """A point in time in this machine's time zone, to the second."""
    return time(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def relative(moment: datetime, now: datetime) -> str:
    """How far a point in time is away. Less than a second is now: the machines' clocks may differ a little."""
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "just now"
    return f"in {duration(away)}" if away > timedelta() else f"{duration(-away)} ago"


def count(number: int, one: str, many: str = "") -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(length: timedelta, *, short: bool = False) -> str:
    """A length of time to read: 61 ms, 2.5 s, 40 s, 1 min 10 s, 12 min, 3 h 5 min; `short` leaves out the second unit."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    index = next(index for index, (unit, _) in enumerate(DURATION_UNITS) if seconds >= unit)
    (unit, name), (smaller, smaller_name) = DURATION_UNITS[index], DURATION_UNITS[min(index + 1, len(DURATION_UNITS) - 1)]
    whole, rest = divmod(seconds, unit)
    more = f" {rest // smaller:.0f} {smaller_name}" if whole < 10 and rest >= smaller and not short else ""
    return f"{whole:.0f} {name}{more}"


def json_text(value: Any) -> Text:
    """JSON to read: one line if it is short, otherwise indented; long JSON is cut."""
    line = json.dumps(value, ensure_ascii=False)
    text = Text(printable(line) if len(line) <= SHORT_JSON else lines(json.dumps(value, ensure_ascii=False, indent=2)))
    JSONHighlighter().highlight(text)
    return text


def lines(text: str, *, last: bool = False) -> str:
    """Up to LINE_LIMIT printable lines, from the start or (`last`) from the end."""
    lines = [printable(line)[:LINE_WIDTH] for line in text.rstrip("\n").split("\n")]
    if len(lines) <= LINE_LIMIT:
        return "\n".join(lines)
    more = f"… ({len(lines) - LINE_LIMIT} more lines; -o json has them all)"
    return "\n".join([more, *lines[-LINE_LIMIT:]] if last else [*lines[:LINE_LIMIT], more])


def time(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
