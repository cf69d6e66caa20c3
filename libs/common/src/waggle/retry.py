"""When a failed try runs again. Pure: randomness is an argument."""

import random
from collections.abc import Callable
from typing import Final

FIRST_BACKOFF_SECONDS: Final = 1.0
BACKOFF_CAP_SECONDS: Final = 300.0
SNOOZE_CAP_SECONDS: Final = 30.0


def ceiling(retry_count: int, cap: float = BACKOFF_CAP_SECONDS) -> float:
    """The longest wait before retry number `retry_count` (0 for the first one), in seconds: 1, 2, 4 … capped."""
    return float(min(cap, FIRST_BACKOFF_SECONDS * 2 ** min(max(retry_count, 0), 62)))


def backoff(retry_count: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait before retry number `retry_count`: exponential with full jitter, at most five minutes.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: sleep = random(0, min(cap, base · 2^n)).
    """
    return uniform(0.0, ceiling(retry_count))
