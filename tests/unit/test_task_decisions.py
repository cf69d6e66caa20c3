"""What follows a try, for every outcome: one pure decision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle.errors import ErrorCode, TaskError
from waggle.task import NEXT, AttemptOutcome, Done, Failed, Lost, Outcome, Snoozed, Status, Step, Tries, decide, not_here_delay, shortest_snooze

CURABLE = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "boom", retryable=True)
INCURABLE = TaskError(ErrorCode.VALIDATION_ERROR, "no such field", retryable=False)

FIRST_TRY = Tries(retry_count=0, max_retries=3)
LAST_TRY = Tries(retry_count=3, max_retries=3)


def test_a_handler_that_returned_completes_its_task_with_the_result() -> None:
    assert decide(Done('{"ok":true}'), FIRST_TRY) == Step(Status.COMPLETED, AttemptOutcome.COMPLETED, result='{"ok":true}')


def test_a_failed_try_waits_for_its_next_one_and_is_counted() -> None:
    step = decide(Failed(CURABLE), FIRST_TRY)
    assert (step.status, step.ended, step.error, step.counted, step.lost) == (Status.PENDING, AttemptOutcome.FAILED, CURABLE, True, False)
    assert 0 <= step.delay <= 1


def test_a_handler_may_say_when_it_wants_to_be_tried_again() -> None:
    assert decide(Failed(CURABLE, after=77.0), FIRST_TRY).delay == 77.0
    assert decide(Failed(CURABLE, after=0.0), FIRST_TRY).delay == 0.0


def test_the_last_failed_try_makes_a_dead_letter() -> None:
    assert decide(Failed(CURABLE), LAST_TRY) == Step(Status.DEAD_LETTER, AttemptOutcome.FAILED, error=CURABLE)


def test_an_error_that_no_retry_can_cure_makes_a_dead_letter_at_once() -> None:
    assert decide(Failed(INCURABLE), FIRST_TRY) == Step(Status.DEAD_LETTER, AttemptOutcome.FAILED, error=INCURABLE)


def test_a_type_that_opted_out_of_the_dead_letter_queue_fails_instead() -> None:
    opted_out = Tries(retry_count=3, max_retries=3, dead_letter=False)
    assert decide(Failed(CURABLE), opted_out).status is Status.FAILED
    assert decide(Failed(INCURABLE), opted_out).status is Status.FAILED
    assert decide(Lost(), opted_out).status is Status.FAILED


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert decide(Failed(CURABLE), Tries(retry_count=0, max_retries=0)).status is Status.DEAD_LETTER


@pytest.mark.parametrize("ended", [AttemptOutcome.SNOOZED, AttemptOutcome.GIVEN_BACK])
def test_a_snooze_waits_and_costs_nothing_even_when_no_try_is_left(ended: AttemptOutcome) -> None:
    assert decide(Snoozed(30.0, ended), LAST_TRY) == Step(Status.PENDING, ended, delay=30.0)


def test_a_lost_task_runs_again_at_once_and_counts_as_a_failed_try() -> None:
    step = decide(Lost(), FIRST_TRY)
    assert (step.status, step.ended, step.delay, step.counted, step.lost) == (Status.PENDING, AttemptOutcome.LOST, 0.0, True, True)
    assert step.error is not None
    assert step.error.retryable


def test_a_task_that_kills_its_worker_every_time_ends_in_the_dead_letter_queue() -> None:
    step = decide(Lost(), LAST_TRY)
    assert (step.status, step.ended, step.lost) == (Status.DEAD_LETTER, AttemptOutcome.LOST, True)


OUTCOMES = st.one_of(
    st.builds(Done, st.none() | st.just("{}")),
    st.builds(Failed, st.sampled_from([CURABLE, INCURABLE]), st.none() | st.floats(0, 1000)),
    st.builds(Snoozed, st.floats(0, 1000)),
    st.just(Lost()),
)
TRIES = st.builds(Tries, retry_count=st.integers(0, 50), max_retries=st.integers(0, 50), dead_letter=st.booleans())


@given(OUTCOMES, TRIES)
def test_every_decision_is_a_step_that_the_status_machine_allows(outcome: Outcome, tries: Tries) -> None:
    assert decide(outcome, tries).status in NEXT[Status.RUNNING]


@given(OUTCOMES, TRIES)
def test_only_a_failed_try_that_will_be_repeated_is_counted(outcome: Outcome, tries: Tries) -> None:
    step = decide(outcome, tries)
    assert step.counted == (step.status is Status.PENDING and not isinstance(outcome, Snoozed))
    assert not step.counted or tries.left


@given(st.integers(0, 20))
def test_a_task_is_tried_once_and_then_as_often_as_its_retries_allow(max_retries: int) -> None:
    tries, retry_count = 0, 0
    while True:
        tries += 1
        step = decide(Failed(CURABLE), Tries(retry_count, max_retries))
        retry_count += step.counted
        if step.status is Status.DEAD_LETTER:
            break
    assert tries == 1 + max_retries


def test_a_type_that_no_worker_knows_is_met_again_after_one_second_rising_to_thirty() -> None:
    assert [not_here_delay(attempt, 0, max) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [not_here_delay(attempt, 0, min) for attempt in range(1, 4)] == [0.5, 1, 2]


def test_failures_do_not_lengthen_the_wait_for_a_worker_that_knows_the_type() -> None:
    assert not_here_delay(attempt=4, retry_count=3, uniform=max) == 1


def test_a_task_that_snoozes_forever_is_looked_at_once_a_second() -> None:
    assert [shortest_snooze(attempt, retry_count=2) for attempt in (1, 12, 13, 1_000)] == [0, 0, 1, 1]
