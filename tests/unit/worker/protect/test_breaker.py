"""One circuit breaker: when it admits calls, when it refuses them and until when, and the changes that it reports."""

import pytest

from waggle.bus.breakers import State
from waggle_worker.protect.breaker import PROBE_WAIT_SECONDS, SPARE_SECONDS, SPREAD_SECONDS, Breaker, Permit, Rules

RULES = Rules(threshold=3, reset=10.0, reset_most=35.0, rate=5.0, lease=15.0)


class Changes(list[tuple[State, State, bool]]):
    def __call__(self, _: Breaker, before: State, after: State, here: bool) -> None:
        self.append((before, after, here))


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def breaker(changes: Changes) -> Breaker:
    return Breaker("smtp", RULES, changes)


@pytest.fixture
def open_one(breaker: Breaker, changes: Changes) -> Breaker:
    """Opened at second 100."""
    for _ in range(3):
        breaker.failed(None, "no answer", 100.0)
    changes.clear()
    return breaker


def probing(breaker: Breaker, now: float) -> Breaker:
    breaker.probe("mine", now)
    return breaker


def test_failures_in_a_row_open_it_once(breaker: Breaker, changes: Changes) -> None:
    assert [breaker.failed(None, "no answer", 100.0) for _ in range(5)] == [False, False, True, False, False]
    assert (breaker.state, breaker.trips, breaker.failures, breaker.error, breaker.until) == (State.OPEN, 1, 3, "no answer", 110.0)
    assert changes == [(State.CLOSED, State.OPEN, True)]


def test_a_success_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.failed(None, "no answer", 100.0)
        breaker.failed(None, "no answer", 100.0)
        breaker.succeeded(None)
    assert breaker.state is State.CLOSED


def test_nobody_passes_until_the_time_has_come_then_one_may_probe(open_one: Breaker) -> None:
    assert open_one.admit(109.9) is Permit.WAIT
    assert open_one.admit(110.0) is Permit.PROBE
    assert probing(open_one, 110.0).admit(110.1) is Permit.WAIT


def test_while_the_fleet_is_asked_nobody_else_asks(open_one: Breaker) -> None:
    open_one.requesting = True
    assert open_one.admit(110.0) is Permit.WAIT


def test_a_probe_that_succeeds_closes_it(open_one: Breaker, changes: Changes) -> None:
    assert probing(open_one, 110.0).succeeded("mine")
    assert (open_one.state, open_one.again, open_one.error) == (State.CLOSED, 0, "")
    assert open_one.admit(110.1) is Permit.PASS
    assert changes == [(State.OPEN, State.HALF_OPEN, True), (State.HALF_OPEN, State.CLOSED, True)]


def test_each_failed_probe_doubles_the_wait_up_to_the_most(open_one: Breaker) -> None:
    waits, now = [], 110.0
    for _ in range(4):
        assert probing(open_one, now).failed("mine", "still none", now)
        waits.append(open_one.until - now)
        now = open_one.until
    assert waits == [20.0, 35.0, 35.0, 35.0]
    assert open_one.trips == 1


def test_a_wait_that_is_longer_than_the_most_is_kept() -> None:
    assert [Rules(reset=60.0, reset_most=10.0).wait(again) for again in (0, 1, 9)] == [60.0, 60.0, 60.0]


def test_what_began_before_it_opened_says_nothing_new(open_one: Breaker) -> None:
    assert not open_one.succeeded(None)
    assert not open_one.failed(None, "late", 105.0)
    assert (probing(open_one, 110.0).succeeded(None), open_one.failed(None, "late", 111.0), open_one.state) == (False, False, State.HALF_OPEN)


def test_a_probe_that_says_nothing_leaves_it_to_the_next_one_at_once(open_one: Breaker) -> None:
    assert probing(open_one, 110.0).released("mine", 112.0)
    assert (open_one.state, open_one.again, open_one.trips) == (State.OPEN, 0, 1)
    assert open_one.admit(112.0) is Permit.PROBE


def test_only_the_probe_can_be_released(open_one: Breaker) -> None:
    assert not probing(open_one, 110.0).released(None, 112.0)
    assert not open_one.released("another", 112.0)
    assert open_one.state is State.HALF_OPEN


def test_a_probe_elsewhere_that_is_silent_past_its_lease_is_followed_here(open_one: Breaker) -> None:
    open_one.becomes(State.HALF_OPEN, until=125.0)
    assert open_one.admit(124.9) is Permit.WAIT
    assert open_one.admit(125.0) is Permit.PROBE


def test_a_probe_that_was_taken_away_no_longer_counts(open_one: Breaker) -> None:
    probing(open_one, 110.0).becomes(State.OPEN, until=150.0)
    assert (open_one.succeeded("mine"), open_one.state) == (False, State.OPEN)


def test_a_change_by_another_worker_is_reported_as_such_and_only_when_it_is_a_change(open_one: Breaker, changes: Changes) -> None:
    open_one.becomes(State.OPEN, until=120.0)
    open_one.becomes(State.CLOSED, until=0.0)
    assert changes == [(State.OPEN, State.CLOSED, False)]
    assert open_one.admit(100.0) is Permit.PASS


def test_those_who_wait_come_back_one_by_one_the_first_when_it_may_be_probed(open_one: Breaker) -> None:
    turns = [101.0 + open_one.turn(101.0, uniform=max) for _ in range(5)]
    assert turns == pytest.approx([110.0, 110.2, 110.4, 110.6, 110.8])


def test_the_line_goes_on_when_it_opens_again(open_one: Breaker) -> None:
    for _ in range(200):
        open_one.turn(101.0)
    probing(open_one, 110.0).failed("mine", "still none", 110.0)  # until 130
    assert [111.0 + open_one.turn(111.0, uniform=min) for _ in range(2)] == pytest.approx([130.0, 149.8])


def test_while_a_probe_is_under_way_others_look_again_soon(open_one: Breaker) -> None:
    assert probing(open_one, 110.0).turn(110.0, uniform=min) == pytest.approx(PROBE_WAIT_SECONDS)


def test_a_very_long_line_is_spread_over_a_bounded_time(open_one: Breaker) -> None:
    turns = [open_one.turn(101.0) for _ in range(20_000)]
    assert max(turns) <= 9.0 + SPREAD_SECONDS + 1.0


def test_an_idle_one_may_be_forgotten(breaker: Breaker) -> None:
    assert breaker.idle
    breaker.failed(None, "no answer", 100.0)
    assert not breaker.idle


def test_one_more_comes_when_it_may_be_probed_after_a_while_because_the_first_may_be_cancelled(open_one: Breaker) -> None:
    for _ in range(40_000):
        open_one.turn(101.0)
    assert 101.5 + open_one.turn(101.5, uniform=max) > 110.0
    assert 101.0 + SPARE_SECONDS + open_one.turn(101.0 + SPARE_SECONDS) == pytest.approx(110.0)
