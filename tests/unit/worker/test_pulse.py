"""A worker knows whether its event loop has stood still since a moment."""

from waggle_worker.cut_off import Pulse

LEASE = 15.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ticking(clock: Clock, seconds: float) -> Pulse:
    pulse = Pulse(LEASE, clock)
    for _ in range(int(seconds)):
        clock.now += 1.0
        pulse.tick()
    return pulse


def test_a_loop_that_ticks_is_steady() -> None:
    clock = Clock()
    assert ticking(clock, 30).steady_since(110.0)


def test_a_loop_that_stood_still_for_a_fifth_of_a_lease_is_not() -> None:
    clock = Clock()
    pulse = ticking(clock, 10)
    clock.now += LEASE / 5 + 0.1
    pulse.tick()
    since = clock.now
    clock.now += 1.0
    assert not pulse.steady_since(105.0)
    assert pulse.steady_since(since + 0.1)


def test_a_loop_that_stands_still_until_it_is_asked_is_not_steady() -> None:
    clock = Clock()
    pulse = ticking(clock, 10)
    clock.now += 20.0
    assert not pulse.steady_since(105.0)


def test_a_loop_is_not_steady_since_before_it_began() -> None:
    assert not Pulse(LEASE, Clock()).steady_since(99.0)
