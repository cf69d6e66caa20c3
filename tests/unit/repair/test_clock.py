"""A reading of the database's clock is compared with the one before; what the round trips leave open is no jump."""

from datetime import UTC, datetime, timedelta

from waggle.repair.clock import DatabaseClock, Reading

START = datetime(2026, 1, 1, tzinfo=UTC)


def reading(seconds: float, asked: float, answered: float) -> Reading:
    return Reading(START + timedelta(seconds=seconds), asked, answered)


def test_time_that_passes_is_no_jump_however_long_the_pause() -> None:
    clock = DatabaseClock(15.0)
    for second in (0.0, 1.0, 500.0):
        assert clock.jumped(reading(second, 100 + second, 100.1 + second)) == 0


def test_a_slow_answer_is_no_jump() -> None:
    clock = DatabaseClock(15.0)
    clock.jumped(reading(0, 100, 100))
    assert clock.jumped(reading(1, 101, 109)) == 0  # read when it was asked
    assert clock.jumped(reading(18, 110, 119)) == 0  # read when it was answered


def test_a_jump_is_measured_in_both_directions() -> None:
    clock = DatabaseClock(15.0)
    clock.jumped(reading(0, 100, 100))
    assert clock.jumped(reading(601, 101, 101)) == 600
    clock.settled()
    assert clock.jumped(reading(602, 102, 102)) == 0
    assert clock.jumped(reading(3, 103, 103)) == -600


def test_a_jump_is_reported_until_it_was_put_right() -> None:
    """Postgres may fail in between."""
    clock = DatabaseClock(15.0)
    clock.jumped(reading(0, 100, 100))
    assert clock.jumped(reading(601, 101, 101)) == 600
    assert clock.jumped(reading(602, 102, 102)) == 600
    assert clock.jumped(reading(703, 103, 103)) == 700
    clock.settled()
    assert clock.jumped(reading(704, 104, 104)) == 0


def test_a_short_lease_tolerates_less() -> None:
    clock = DatabaseClock(1.0)
    clock.jumped(reading(0, 100, 100))
    assert round(clock.jumped(reading(1.5, 101, 101)), 3) == 0.5
