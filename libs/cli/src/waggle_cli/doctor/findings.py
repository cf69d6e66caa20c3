"""What a check found: how bad it is, what it is, and what to do about it."""

import re
from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """`SKIPPED`: it could not be looked at, and that need not be wrong. `WARNING`: it works, and a promise or the near future is at risk."""

    OK = 0
    SKIPPED = 1
    WARNING = 2
    ERROR = 3


class Finding(NamedTuple):
    """`advice` is what to do; whatever is not well has some."""

    level: Level
    what: str
    advice: str = ""


def ok(what: str) -> Finding:
    return Finding(Level.OK, what)


def skipped(what: str, advice: str) -> Finding:
    return Finding(Level.SKIPPED, what, advice)


def warning(what: str, advice: str) -> Finding:
    return Finding(Level.WARNING, what, advice)


def error(what: str, advice: str) -> Finding:
    return Finding(Level.ERROR, what, advice)


def count(number: int, thing: str, most: int | None = None) -> str:
    """`1 task`, `1,204 tasks`, `10,000 tasks or more`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}{' or more' if number == most else ''}"


def reason(problem: Exception | str) -> str:
    """A server's or the system's words, on one line, without numbers of the system."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    text = re.sub(r"\[Errno \d+\] ", "", str(problem).strip().partition("\n")[0])
    return text or type(problem).__name__
