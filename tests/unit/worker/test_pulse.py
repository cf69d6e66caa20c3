"""A worker knows whether its event loop has stood still since a moment."""

import asyncio
import time

import pytest

from waggle_worker.cut_off import Pulse

LEASE = 15.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ticking(clock: Clock, count: int, interval: float = LEASE / 15) -> Pulse:
    pulse = Pulse(LEASE, clock)
    tick(pulse, clock, count, interval)
    return pulse


def tick(pulse: Pulse, clock: Clock, count: int, interval: float = LEASE / 15) -> None:
    for _ in range(count):
        clock.now += interval
        pulse.tick()


@pytest.mark.parametrize("late", [0.0, 0.15])
def test_a_loop_that_ticks_is_steady(late: float) -> None:
    clock = Clock()
    assert ticking(clock, 60, LEASE / 15 + late).steady_since(110.0)


def test_a_loop_that_stood_still_for_a_fifth_of_a_lease_is_not_steady_until_a_lease_later() -> None:
    clock = Clock()
    pulse = ticking(clock, 10)
    tick(pulse, clock, 1, LEASE / 15 + LEASE / 5 + 0.1)
    assert not pulse.steady_since(105.0)
    tick(pulse, clock, 16)
    since = clock.now
    tick(pulse, clock, 3)
    assert pulse.steady_since(since)
    assert not pulse.steady_since(105.0)


def test_a_loop_that_stood_still_in_pieces_is_not_steady() -> None:
    clock = Clock()
    assert not ticking(clock, 15, LEASE / 15 + 0.3).steady_since(105.0)


def test_a_loop_that_stands_still_until_it_is_asked_is_not_steady() -> None:
    clock = Clock()
    pulse = ticking(clock, 10)
    clock.now += 20.0
    assert not pulse.steady_since(105.0)


def test_a_loop_is_not_steady_since_before_it_began() -> None:
    assert not Pulse(LEASE, Clock()).steady_since(99.0)


async def test_a_loop_that_does_many_short_things_in_turn_with_a_pause_of_a_round_is_not_steady() -> None:
    pulse = Pulse(0.6)  # a tick each 0.04 s
    ticks = asyncio.create_task(pulse.loop())
    began = time.monotonic()
    await asyncio.sleep(0.05)
    while time.monotonic() < began + 0.6:
        time.sleep(0.041)  # noqa: ASYNC251  # the mistake under test
        await asyncio.sleep(0)
    assert not pulse.steady_since(began + 0.05)
    ticks.cancel()
