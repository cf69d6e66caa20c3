"""How far back the looks of a loop go: at everything while that is quick, otherwise at what is new, and at everything once in a while."""

import pytest

from waggle.loops import LONGEST_SECONDS, SLACK_SECONDS, Looks


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def look(looks: Looks, clock: Clock, took: float) -> float | None:
    with looks.look() as back:
        clock.now += took
    return back


def test_quick_looks_are_at_everything() -> None:
    clock = Clock()
    looks = Looks(clock)
    for _ in range(5):
        assert look(looks, clock, 0.001) is None
        clock.now += 1.0


def test_after_slow_ones_the_next_ones_go_back_to_the_one_before_until_they_have_taken_a_hundredth_of_the_time() -> None:
    clock = Clock()
    looks = Looks(clock)
    for _ in range(5):  # pauses of 2, 4, 8 and 16 s come before
        assert look(looks, clock, 0.2) is None
        clock.now += 20.0
    assert look(looks, clock, 0.2) is None
    clock.now += 1.0
    assert look(looks, clock, 0.01) == pytest.approx(1.2 + SLACK_SECONDS)
    clock.now += 2.0
    assert look(looks, clock, 0.01) == pytest.approx(2.01 + SLACK_SECONDS)
    clock.now += 16.9
    assert look(looks, clock, 0.01) is not None
    clock.now += 0.1
    assert look(looks, clock, 0.2) is None


def test_one_that_took_long_by_chance_puts_the_next_off_for_ten_times_as_long() -> None:
    clock = Clock()
    looks = Looks(clock)
    for pause in (2.0, 4.0, 8.0, 16.0):  # and each further one for twice as long
        assert look(looks, clock, 0.2) is None
        clock.now += pause - 0.1
        assert look(looks, clock, 0.0) is not None
        clock.now += 0.2
    assert look(looks, clock, 0.001) is None
    clock.now += 0.2
    assert look(looks, clock, 0.2) is None, "a quick one ends that"
    clock.now += 2.1
    assert look(looks, clock, 0.2) is None


def test_everything_is_looked_at_once_a_minute_however_long_it_takes() -> None:
    clock = Clock()
    looks = Looks(clock)
    assert look(looks, clock, 30.0) is None
    clock.now += LONGEST_SECONDS - 0.1
    assert look(looks, clock, 0.0) is not None
    clock.now += 0.2
    assert look(looks, clock, 0.0) is None


def test_a_look_that_failed_or_left_some_is_done_again() -> None:
    clock = Clock()
    looks = Looks(clock)
    with pytest.raises(OSError, match="away"), looks.look():
        raise OSError("away")
    assert look(looks, clock, 1.0) is None
    looks.left_some()
    assert look(looks, clock, 1.0) is None
