"""Backoff: exponential from one second, full jitter, at most five minutes."""

from hypothesis import given
from hypothesis import strategies as st

from waggle.retry import BACKOFF_CAP_SECONDS, backoff, ceiling


def test_the_ceiling_doubles_from_one_second_to_five_minutes() -> None:
    assert [ceiling(n) for n in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(st.integers(-5, 10**9))
def test_the_wait_lies_between_nothing_and_the_ceiling(retry_count: int) -> None:
    assert 0 <= backoff(retry_count) <= ceiling(retry_count) <= BACKOFF_CAP_SECONDS


@given(st.integers(0, 60))
def test_the_ceiling_never_falls(retry_count: int) -> None:
    assert ceiling(retry_count) <= ceiling(retry_count + 1)


def test_the_jitter_is_full() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    assert backoff(3, uniform) == 8
    assert asked == [(0.0, 8.0)]


def test_a_herd_that_failed_together_does_not_come_back_together() -> None:
    assert len({round(backoff(6), 3) for _ in range(200)}) > 150
