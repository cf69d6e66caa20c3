"""Tasks are claimed ahead only while handlers are quick: all slots are free again within a few milliseconds, over and over."""

import pytest

from waggle_worker.ahead import SAMPLE_SECONDS, SAMPLES, Pace

SLOTS = 100


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """Its handlers, and whether they are taken for quick at each moment."""

    def __init__(self) -> None:
        self.clock, self.ended = Clock(), 0
        self.pace = Pace(SLOTS, self.clock)

    def run(self, rate: float, seconds: float) -> list[bool]:
        """Handlers end at this rate."""
        said = []
        for _ in range(round(seconds / SAMPLE_SECONDS)):
            self.clock.now += SAMPLE_SECONDS
            self.ended += round(rate * SAMPLE_SECONDS)
            said.append(self.pace.is_quick(self.ended))
        return said


def test_a_worker_that_has_just_begun_does_not_know() -> None:
    worker = Worker()
    assert not worker.pace.is_quick(0)
    assert not any(worker.run(20_000, (SAMPLES - 2) * SAMPLE_SECONDS))


def test_handlers_that_free_all_slots_every_few_milliseconds_are_quick() -> None:
    assert all(Worker().run(20_000, 1.0)[SAMPLES:])


@pytest.mark.parametrize("rate", [200, 2_000, 8_000])
def test_others_are_not(rate: int) -> None:
    assert not any(Worker().run(rate, 1.0))


def test_many_that_began_together_and_end_together_are_not() -> None:
    worker = Worker()
    for _ in range(20):
        worker.ended += SLOTS
        assert not worker.pace.is_quick(worker.ended)
        assert not any(worker.run(0, 0.05))


def test_as_soon_as_none_ends_they_are_not_whatever_was_before() -> None:
    worker = Worker()
    assert worker.run(20_000, 1.0)[-1]
    assert not worker.run(0, SAMPLES * SAMPLE_SECONDS)[-1]
