"""Times of the bucket's server in monotonic seconds, and the other way round."""

from datetime import UTC, datetime, timedelta

import pytest

from waggle_worker.protect.clock import ServerClock

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ServerClock:
    """It is noon by the server, 1000 s by this process."""
    made = ServerClock(lambda: 1_000.0)
    made.set(NOON, 1_000.0)
    return made


def test_a_time_goes_there_and_back(clock: ServerClock) -> None:
    assert clock.moment(1_030.0) == NOON + timedelta(seconds=30)
    assert clock.monotonic(NOON - timedelta(seconds=30)) == 970.0


@pytest.mark.parametrize(("seconds", "found"), [(-5, 1_000.0), (30, 1_030.0), (86_400, 1_060.0)])
def test_a_time_to_come_is_bounded(clock: ServerClock, seconds: int, found: float) -> None:
    assert clock.bounded(NOON + timedelta(seconds=seconds), 60.0) == found


def test_a_time_that_is_missing_is_now(clock: ServerClock) -> None:
    assert clock.bounded(None, 60.0) == 1_000.0
