"""Words for what the API says in numbers and times, pure: how long, how far away, which priority, and JSON to read.

What strangers wrote loses its control characters.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.highlighter import JSONHighlighter
from rich.text import Text

from waggle_cli.options import PRIORITIES
from waggle_cli.terminal import printable

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
    "paused": "yellow",
    "stopped": "red",
    "alive": "green",
    "draining": "yellow",
    "gone": "dim",
}
LONGEST_LINE: Final = 500
MOST_LINES: Final = 40
SHORT_JSON: Final = 60
UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def plain(value: object, style: str = "") -> Text:
    """A value on one line, as text that a terminal shows and does not obey."""
    return Text(printable(str(value)), style=style)


def status(name: str) -> Text:
    return Text(printable(name), style=STYLES.get(name, "dim"))


def priority(number: int) -> str:
    return PRIORITIES[number] if 0 <= number < len(PRIORITIES) else str(number)


def age(moment: str, now: datetime) -> str:
    """How long ago, in one unit."""
    return duration(now - time(moment), short=True)


def at(moment: str | None, now: datetime) -> str:
    """A point in time, and how far it is away; nothing for none."""
    return "" if moment is None else f"{exact(moment)}  ({relative(time(moment), now)})"


def present() -> datetime:
    return datetime.now(UTC)


def exact(moment: str) -> str:
    """A point in time in this machine's time zone, to the second."""
    return time(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def relative(moment: datetime, now: datetime) -> str:
    """How far a point in time is away. The machines' clocks may differ a little: what is near is now."""
    away = moment - now
    if abs(away) < timedelta(seconds=1):
        return "just now"
    return f"in {duration(away)}" if away > timedelta() else f"{duration(-away)} ago"


def count(number: int, one: str, many: str = "") -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(length: timedelta, *, short: bool = False) -> str:
    """A length of time, as exact as one wants to read it: 61 ms, 2.5 s, 40 s, 1 min 10 s, 12 min, 3 h 5 min; `short` is without the second unit."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    index = next(index for index, (unit, _) in enumerate(UNITS) if seconds >= unit)
    (unit, name), (smaller, smaller_name) = UNITS[index], UNITS[min(index + 1, len(UNITS) - 1)]
    whole, rest = divmod(seconds, unit)
    more = f" {rest // smaller:.0f} {smaller_name}" if whole < 10 and rest >= smaller and not short else ""
    return f"{whole:.0f} {name}{more}"


def json_text(value: Any) -> Text:
    """JSON to read: on one line when it is short, else indented; a long one is cut."""
    line = json.dumps(value, ensure_ascii=False)
    text = Text(printable(line) if len(line) <= SHORT_JSON else lines(json.dumps(value, ensure_ascii=False, indent=2)))
    JSONHighlighter().highlight(text)
    return text


def lines(text: str, *, last: bool = False) -> str:
    """Printable lines, at most MOST_LINES of them, from the beginning or the end."""
    lines = [printable(line)[:LONGEST_LINE] for line in text.rstrip("\n").split("\n")]
    if len(lines) <= MOST_LINES:
        return "\n".join(lines)
    more = f"… ({len(lines) - MOST_LINES} more lines; -o json has them all)"
    return "\n".join([more, *lines[-MOST_LINES:]] if last else [*lines[:MOST_LINES], more])


def time(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
