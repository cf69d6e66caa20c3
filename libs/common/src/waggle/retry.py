"""When a failed try runs again. Pure: randomness is an argument."""

import functools
import math
import random
from collections.abc import Callable
from typing import Final, Literal

import msgspec

FIRST_BACKOFF_SECONDS: Final = 1.0
BACKOFF_CAP_SECONDS: Final = 300.0
SNOOZE_CAP_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 1e9  # thirty years
LARGEST_FACTOR: Final = 1_000.0

BackoffFunc = Callable[[int], float]
"""Seconds to wait after the failed try number `attempt`, which is 1 for the first one."""

Kind = Literal["fixed", "linear", "exponential"]
Uniform = Callable[[float, float], float]


class Backoff(msgspec.Struct, frozen=True):
    """The waits between the tries of a task, in seconds: `Backoff.fixed`, `.linear` or `.exponential` make one.

    `jitter` is the share of a wait that is left to chance: 0 for none, 1 for anything between nothing and the whole wait.
    Raises TypeError or ValueError for a number out of range.
    """

    kind: Kind
    base: float
    factor: float
    cap: float
    jitter: float

    @classmethod
    def fixed(cls, base: float, *, jitter: float = 0.0) -> "Backoff":
        """`base` seconds each time."""
        return cls("fixed", base, 1.0, base, jitter)

    @classmethod
    def linear(cls, base: float, *, cap: float = BACKOFF_CAP_SECONDS, jitter: float = 0.0) -> "Backoff":
        """`base` seconds, then twice, three times … as long, at most `cap`."""
        return cls("linear", base, 1.0, cap, jitter)

    @classmethod
    def exponential(cls, base: float = FIRST_BACKOFF_SECONDS, *, factor: float = 2.0, cap: float = BACKOFF_CAP_SECONDS, jitter: float = 1.0) -> "Backoff":
        """`base` seconds, each further time `factor` times as long, at most `cap`."""
        return cls("exponential", base, factor, cap, jitter)

    def __post_init__(self) -> None:
        limits = {"base": (0.0, LONGEST_WAIT_SECONDS), "factor": (1.0, LARGEST_FACTOR), "cap": (self.base, LONGEST_WAIT_SECONDS), "jitter": (0.0, 1.0)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"Backoff: {name} must be a number, not {value!r}")
            if not least <= value <= most:
                raise ValueError(f"Backoff: {name} must be from {least:g} to {most:g}, not {value!r}")

    def longest(self, attempt: int) -> float:
        """The wait after the failed try number `attempt`, without its jitter."""
        match self.kind:
            case "fixed":
                return self.base
            case "linear":
                return min(self.cap, self.base * attempt)
            case "exponential":
                try:
                    return min(self.cap, self.base * self.factor ** (attempt - 1))
                except OverflowError:
                    return self.cap

    def wait(self, attempt: int, uniform: Uniform = random.uniform) -> float:
        """Seconds to wait after the failed try number `attempt`."""
        longest = self.longest(attempt)
        return uniform(longest * (1.0 - self.jitter), longest)


DEFAULT_BACKOFF: Final = Backoff.exponential()
"""Exponential with full jitter: sleep = random(0, min(cap, base · 2^n)). Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015."""


class ShownBackoff(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the tasks of a type wait between their tries, in seconds. `kind` is fixed, linear, exponential or function, which `function` then names.

    `jitter` is the share of a wait that is left to chance.
    """

    kind: str
    base: float | None = None
    factor: float | None = None
    cap: float | None = None
    jitter: float | None = None
    function: str | None = None


def shown(backoff: Backoff | BackoffFunc) -> ShownBackoff:
    """A backoff as the catalogue keeps it."""
    if isinstance(backoff, Backoff):
        return ShownBackoff(**msgspec.structs.asdict(backoff))
    function = backoff.func if isinstance(backoff, functools.partial) else backoff
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return ShownBackoff("function", function=f"{function.__module__}.{name}")


def checked_wait(seconds: object) -> float:
    """What a function of the attempt gave. Raises ValueError for what is no wait."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds) or not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise ValueError(f"a wait is a number of seconds from 0 to {LONGEST_WAIT_SECONDS:g}, not {seconds!r}"[:200])
    return float(seconds)


def ceiling(retry_count: int, cap: float = BACKOFF_CAP_SECONDS) -> float:
    """The longest wait before retry number `retry_count` (0 for the first one), in seconds: 1, 2, 4 … capped."""
    return Backoff.exponential(cap=cap).longest(max(retry_count, 0) + 1)


def backoff(retry_count: int, uniform: Uniform = random.uniform) -> float:
    """Seconds to wait before retry number `retry_count` where the type says nothing else: at most five minutes."""
    return DEFAULT_BACKOFF.wait(max(retry_count, 0) + 1, uniform)
