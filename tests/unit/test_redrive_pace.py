"""The rule that paces and stops a redrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from waggle.redrive import (
    BATCH_LIMIT,
    FIRST_BATCH,
    FIRST_OUTCOMES_SECONDS,
    OPEN_LIMIT,
    OPEN_SECONDS,
    OUTCOMES_NEEDED,
    RATE_MIN,
    RECENT_LIMIT,
    Finish,
    LetGo,
    Progress,
    Recent,
    Stop,
    Wait,
    next_step,
)


def progress(**fields: object) -> Progress:
    at = Progress(rate=100.0, limit=None, retried=0, ended=0, open=0, recent=Recent(0, 0), waited=None)
    return at._replace(**fields)  # type: ignore[arg-type]


def test_it_begins_with_a_few() -> None:
    assert next_step(progress()) == LetGo(FIRST_BATCH, FIRST_BATCH / 100)
    assert next_step(progress(retried=4)) == LetGo(FIRST_BATCH - 4, 0.06)


def test_it_waits_until_enough_of_the_first_have_an_outcome_or_have_had_their_time() -> None:
    first = progress(retried=FIRST_BATCH, open=FIRST_BATCH, waited=0.1)
    assert isinstance(next_step(first), Wait)
    assert isinstance(next_step(first._replace(ended=OUTCOMES_NEEDED, open=FIRST_BATCH - OUTCOMES_NEEDED, recent=Recent(OUTCOMES_NEEDED, 0))), LetGo)
    assert isinstance(next_step(first._replace(waited=FIRST_OUTCOMES_SECONDS)), LetGo)
    assert isinstance(next_step(first._replace(open=0)), LetGo)  # they were all cancelled


def test_after_that_it_keeps_to_its_rate() -> None:
    assert next_step(progress(retried=50)) == LetGo(25, 0.25)
    assert next_step(progress(retried=50, rate=0.5)) == LetGo(1, 2.0)
    assert next_step(progress(retried=50, rate=10_000.0)) == LetGo(BATCH_LIMIT, 0.1)


@pytest.mark.parametrize(("ended", "failed", "stops"), [(4, 4, False), (5, 3, True), (5, 2, False), (6, 3, True), (100, 49, False), (100, 50, True)])
def test_it_stops_when_half_of_at_least_five_failed_again(ended: int, failed: int, stops: bool) -> None:
    step = next_step(progress(retried=500, recent=Recent(ended, failed)))
    assert isinstance(step, Stop) == stops
    if isinstance(step, Stop):
        assert f"{failed} of the last {ended}" in step.reason


def test_old_outcomes_are_forgotten_so_that_a_late_failure_is_seen_soon() -> None:
    recent = Recent(0, 0)
    for _ in range(1000):
        recent = recent.after(10, 0)
    assert recent.ended <= RECENT_LIMIT
    portions = 0
    while not isinstance(next_step(progress(retried=10_000, recent=recent)), Stop):
        recent, portions = recent.after(10, 10), portions + 1
    assert portions <= RECENT_LIMIT // 10


def test_it_never_has_more_on_their_way_than_it_lets_go_in_a_minute() -> None:
    most = int(100 * OPEN_SECONDS)
    assert next_step(progress(retried=most, open=most - 3)) == LetGo(3, 0.03)
    assert isinstance(next_step(progress(retried=most, open=most)), Wait)
    assert isinstance(next_step(progress(rate=10_000.0, retried=OPEN_LIMIT, open=OPEN_LIMIT)), Wait)


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e308, float("inf")])
def test_a_rate_that_no_door_lets_in_does_not_break_it(rate: float) -> None:
    for retried in (0, 10_000):
        step = next_step(progress(rate=rate, retried=retried))
        assert isinstance(step, LetGo)
        assert 1 <= step.most <= BATCH_LIMIT
        assert 0 < step.seconds <= 1 / RATE_MIN


def test_it_ends_at_its_limit() -> None:
    assert next_step(progress(limit=3)) == LetGo(3, 0.03)
    assert next_step(progress(limit=3, retried=3)) == Finish()


@given(
    rate=some.floats(0.001, 10_000),
    limit=some.none() | some.integers(1, 10_000),
    retried=some.integers(0, 20_000),
    open_=some.integers(0, 20_000),
    ended=some.integers(0, 100),
    waited=some.none() | some.floats(0, 100),
)
def test_whatever_it_lets_go_is_within_its_rate_its_limit_and_its_bounds(
    rate: float, limit: int | None, retried: int, open_: int, ended: int, waited: float | None
) -> None:
    step = next_step(Progress(rate, limit, retried, ended, open_, Recent(ended, 0), waited))
    if isinstance(step, LetGo):
        assert 1 <= step.most <= BATCH_LIMIT
        assert step.most / step.seconds <= rate * 1.001
        assert open_ + step.most <= max(FIRST_BATCH, OPEN_LIMIT)
        assert limit is None or retried + step.most <= limit
        assert retried >= FIRST_BATCH or retried + step.most <= FIRST_BATCH
