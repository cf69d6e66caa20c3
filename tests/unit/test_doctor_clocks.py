"""A clock is wrong when it is surely more than two seconds away from the database's, however long the answers took."""

import pytest

from waggle_cli.doctor.clocks import Reading, read, verdict
from waggle_cli.doctor.findings import Level


def test_a_clock_is_taken_for_the_middle_of_the_question_and_the_answer() -> None:
    assert read(100.0, 100.5, 103.25) == Reading(ahead=3.0, give_or_take=0.25)


@pytest.mark.parametrize(
    ("clock", "database", "said"),
    [
        (Reading(0, 0), Reading(0, 0), None),
        (Reading(0, 0), Reading(1.9, 0), None),
        (Reading(0, 0), Reading(5.0, 0.1), "X clock is 5.0 s behind the database's"),
        (Reading(0, 0), Reading(-5.0, 0.1), "X clock is 5.0 s ahead of the database's"),
        (Reading(60.0, 0.1), Reading(60.0, 0.1), None),  # it is this machine's that is wrong
        (Reading(3700.0, 0.1), Reading(100.0, 0.1), "X clock is 3,600.0 s ahead of the database's"),
        (Reading(0, 0), Reading(3.0, 1.5), None),  # a slow answer says less
        (Reading(3.0, 0.7), Reading(0, 0.7), None),
    ],
)
def test_what_is_said_of_a_clock(clock: Reading, database: Reading, said: str | None) -> None:
    finding = verdict("X", clock, database)
    assert (finding and finding.what) == said
    if finding:
        assert finding.level == Level.WARNING
        assert finding.advice
