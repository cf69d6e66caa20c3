"""When a failed try runs again. Pure: randomness comes in as an argument."""

import random
from collections.abc import Callable
from typing import Final

FIRST: Final = 1.0
CAP: Final = 300.0
SNOOZE_CAP: Final = 30.0


def ceiling(retry_count: int, cap: float = CAP) -> float:
    """The longest wait before retry number `retry_count` (0 for the first one), in seconds: 1, 2, 4 … capped."""
    return float(min(cap, FIRST * 2 ** min(max(retry_count, 0), 62)))


def backoff(retry_count: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait before retry number `retry_count`: exponential with full jitter, at most five minutes.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: sleep = random(0, min(cap, base · 2^n)).
    """
    return uniform(0.0, ceiling(retry_count))
