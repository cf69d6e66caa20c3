"""Findings: a level, what was found, and advice."""

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

NAMED_LIMIT: Final = 6


class Level(IntEnum):
    """`SKIPPED`: could not be checked, which may be fine. `WARNING`: it works, but a promise or the near future is at risk."""

    OK = 0
    SKIPPED = 1
    WARNING = 2
    ERROR = 3


class Finding(NamedTuple):
    """`advice` is what to do; every finding except OK has some."""

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


def count(number: int, thing: str, limit: int | None = None) -> str:
    """`1 task`, `1,204 tasks`, `10,000 tasks or more`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}{' or more' if number == limit else ''}"


def listed(names: Sequence[str]) -> str:
    """The first NAMED_LIMIT names, and an ellipsis for the others."""
    return ", ".join(names[:NAMED_LIMIT]) + (", …" if len(names) > NAMED_LIMIT else "")


def reason(problem: Exception | str) -> str:
    """The message of a server or of the system, on one line, without error numbers."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    text = re.sub(r"\[Errno \d+\] ", "", str(problem).strip().partition("\n")[0])
    return text or type(problem).__name__
