"""A clock is wrong if it certainly differs from the database's by more than two seconds, however long the answers took."""

import pytest

from waggle_cli.doctor.clocks import ClockReading, read, verdict
from waggle_cli.doctor.findings import Level


def test_a_clock_is_taken_for_the_middle_of_the_question_and_the_answer() -> None:
    assert read(100.0, 100.5, 103.25) == ClockReading(ahead=3.0, uncertainty=0.25)


@pytest.mark.parametrize(
    ("clock", "database", "said"),
    [
        (ClockReading(0, 0), ClockReading(0, 0), None),
        (ClockReading(0, 0), ClockReading(1.9, 0), None),
        (ClockReading(0, 0), ClockReading(5.0, 0.1), "X clock is 5.0 s behind the database's"),
        (ClockReading(0, 0), ClockReading(-5.0, 0.1), "X clock is 5.0 s ahead of the database's"),
        (ClockReading(60.0, 0.1), ClockReading(60.0, 0.1), None),  # it is this machine's that is wrong
        (ClockReading(3700.0, 0.1), ClockReading(100.0, 0.1), "X clock is 3,600.0 s ahead of the database's"),
        (ClockReading(0, 0), ClockReading(3.0, 1.5), None),  # a slow answer says less
        (ClockReading(3.0, 0.7), ClockReading(0, 0.7), None),
    ],
)
def test_what_is_said_of_a_clock(clock: ClockReading, database: ClockReading, said: str | None) -> None:
    finding = verdict("X", clock, database)
    assert (finding and finding.what) == said
    if finding:
        assert finding.level == Level.WARNING
        assert finding.advice
