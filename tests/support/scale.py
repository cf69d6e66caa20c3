"""The size of the fault tests (small in the suite, full with `FAULTS=full`, `just faults`) and the seed of their random choices, which each prints."""

import os
import random
from typing import Final, TypeVar

T = TypeVar("T")

FULL = os.environ.get("FAULTS") == "full"
SEED: Final = int(os.environ.get("FAULTS_SEED") or random.randrange(2**32))  # noqa: S311  # a seed, to be printed


def sized(scaled: T, full: T) -> T:
    return full if FULL else scaled


def crowd() -> float:
    """By how much other programs stretch a time, at least 1: processes that want to run, over the last minute, to those of the suite alone."""
    return max(1.0, os.getloadavg()[0] / ((os.cpu_count() or 1) + 1))


def dice() -> random.Random:
    """Random choices that `FAULTS_SEED` repeats; pytest shows the printed seed when the test fails."""
    print(f"FAULTS_SEED={SEED}")
    return random.Random(SEED)  # noqa: S311  # repeatable, not secret


def figures(test: str, **found: object) -> None:
    """Print one line of figures; `just faults` shows it."""
    print(f"figures of {test} (FAULTS_SEED={SEED}): " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items()))
