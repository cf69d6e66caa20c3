"""Backoff: by default exponential from one second, full jitter, at most five minutes; fixed, linear or exponential as a type declares."""

import functools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle import Backoff
from waggle.retry import BACKOFF_CAP_SECONDS, backoff, ceiling, checked_wait, shown


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


@pytest.mark.parametrize(
    ("declared", "waits"),
    [
        (Backoff.fixed(5), [5, 5, 5, 5]),
        (Backoff.fixed(0), [0, 0, 0, 0]),
        (Backoff.linear(10, cap=25), [10, 20, 25, 25]),
        (Backoff.exponential(), [1, 2, 4, 8]),
        (Backoff.exponential(2, factor=10, cap=1_000), [2, 20, 200, 1_000]),
        (Backoff.exponential(3, factor=1), [3, 3, 3, 3]),
    ],
    ids=repr,
)
def test_the_longest_waits_of_each_kind(declared: Backoff, waits: list[float]) -> None:
    assert [declared.longest(attempt) for attempt in (1, 2, 3, 4)] == waits


def test_no_number_of_tries_is_too_large() -> None:
    assert Backoff.exponential(1, factor=1_000, cap=1e9).longest(1_001) == 1e9


@given(st.integers(1, 1_001), st.floats(0, 1))
def test_the_wait_lies_between_the_share_that_is_certain_and_the_longest(attempt: int, jitter: float) -> None:
    declared = Backoff.linear(2, cap=60, jitter=jitter)
    longest = declared.longest(attempt)
    assert longest * (1 - jitter) - 1e-9 <= declared.wait(attempt) <= longest + 1e-9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Backoff.fixed(-1), "base must be from 0 to 1e\\+09, not -1"),
        (lambda: Backoff.fixed(math.nan), "base must be"),
        (lambda: Backoff.fixed(math.inf), "base must be"),
        (lambda: Backoff.linear(10, cap=5), "cap must be from 10"),
        (lambda: Backoff.linear(10, cap=math.inf), "cap must be"),
        (lambda: Backoff.exponential(factor=0.5), "factor must be from 1 to 1000"),
        (lambda: Backoff.exponential(factor=math.nan), "factor must be"),
        (lambda: Backoff.exponential(jitter=1.5), "jitter must be from 0 to 1"),
    ],
)
def test_a_number_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Backoff: {message}"):
        make()


@pytest.mark.parametrize("value", ["5", None, True])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^Backoff: base must be a number"):
        Backoff.fixed(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.001, 1.1e9, "1", None, True])
def test_a_function_must_give_a_wait(value: object) -> None:
    with pytest.raises(ValueError, match="a wait is a number of seconds"):
        checked_wait(value)


def three(attempt: int, most: int = 3) -> float:
    return min(attempt, most)


def test_a_function_is_shown_by_its_name() -> None:
    for function in (three, functools.partial(three, most=5)):
        assert shown(function).function == f"{__name__}.three"
