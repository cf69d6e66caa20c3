"""How many tasks may be claimed ahead: as many as handlers of this moment end soon."""

from waggle_worker.ahead import AHEAD_SECONDS, SAMPLE_SECONDS, SAMPLES, Pace


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def run(pace: Pace, clock: Clock, ended: int, rate: float, seconds: float) -> int:
    """Handlers end at this rate; how many have in all."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += SAMPLE_SECONDS
        ended += round(rate * SAMPLE_SECONDS)
        pace.soon(ended)
    return ended


def test_it_is_what_ends_within_the_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    ended = run(pace, clock, 0, 20_000, 0.1)
    assert abs(pace.soon(ended) - 20_000 * AHEAD_SECONDS) <= 1


def test_a_worker_that_has_just_begun_claims_nothing_ahead() -> None:
    assert Pace(Clock()).soon(0) == 0


def test_slow_handlers_are_not_claimed_ahead() -> None:
    clock = Clock()
    pace = Pace(clock)
    ended = run(pace, clock, 0, 200, 0.5)
    assert pace.soon(ended) <= 1


def test_as_soon_as_none_ends_none_is_claimed_ahead_whatever_was_before() -> None:
    clock = Clock()
    pace = Pace(clock)
    ended = run(pace, clock, 0, 20_000, 1.0)
    run(pace, clock, ended, 0, SAMPLES * SAMPLE_SECONDS)
    assert pace.soon(ended) == 0
