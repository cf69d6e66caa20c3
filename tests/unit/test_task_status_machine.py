"""The status machine is one table, and the schema and the SQL agree with it."""

import re
from importlib import resources

import pytest

from waggle.store.sql import names, statement
from waggle.task import AT_REST, FINAL, NEXT, AttemptOutcome, Status

SCHEMA = resources.files("waggle.store").joinpath("migrations/versions/0001_tasks.py").read_text()


def test_the_final_statuses_are_completed_failed_and_cancelled() -> None:
    assert {Status.COMPLETED, Status.FAILED, Status.CANCELLED} == FINAL


def test_a_dead_letter_is_at_rest_but_not_final() -> None:
    assert {Status.DEAD_LETTER} == AT_REST - FINAL


def test_a_task_becomes_running_only_from_pending() -> None:
    assert [status for status, following in NEXT.items() if Status.RUNNING in following] == [Status.PENDING]


def test_a_task_completes_or_dies_only_from_running() -> None:
    for end in (Status.COMPLETED, Status.DEAD_LETTER):
        assert [status for status, following in NEXT.items() if end in following] == [Status.RUNNING]


def test_every_status_can_be_reached_and_every_path_can_end() -> None:
    reached = {Status.PENDING}
    while more := {following for status in reached for following in NEXT.get(status, frozenset())} - reached:
        reached |= more
    assert reached == set(Status)
    assert all(FINAL & _reachable(status) for status in NEXT)


def _reachable(status: Status) -> set[Status]:
    found = {status}
    while more := {following for each in found for following in NEXT.get(each, frozenset())} - found:
        found |= more
    return found


def test_the_schema_knows_exactly_these_statuses() -> None:
    assert _check_constraint("status") == set(Status)


def test_the_schema_knows_exactly_these_ends_of_an_attempt() -> None:
    assert _check_constraint("outcome") == set(AttemptOutcome)


def _check_constraint(column: str) -> set[str]:
    found = re.search(rf"{column}\s+text NOT NULL[^,\n]*CHECK \({column} IN \(([^)]*)\)\)", SCHEMA)
    assert found, f"no check constraint on {column}"
    return set(re.findall(r"'(\w+)'", found[1]))


def test_what_sql_calls_at_rest_is_what_the_table_calls_at_rest() -> None:
    assert _guards("tasks/at_rest") == AT_REST


def test_only_final_tasks_are_deleted() -> None:
    assert _guards("tasks/delete_expired") | _guards("tasks/delete_expired_failed") == FINAL
    assert _guards("tasks/delete") == FINAL
    deleting = {name for name in names() if re.search(r'DELETE FROM "waggle"\.tasks\b', statement(name).text("waggle"))}
    assert deleting == {"tasks/delete_expired", "tasks/delete_expired_failed", "tasks/delete"}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("tasks/claim", {Status.PENDING}, Status.RUNNING),
        ("tasks/cancel", {Status.PENDING, Status.RUNNING}, Status.CANCELLED),
        ("tasks/fail_overdue", {Status.PENDING, Status.RUNNING}, Status.FAILED),
        ("dead_letters/remove_expired", {Status.DEAD_LETTER}, Status.FAILED),
        ("dead_letters/remove_excess", {Status.DEAD_LETTER}, Status.FAILED),
        ("tasks/cancel_waiting", {Status.PENDING}, Status.CANCELLED),
        ("dead_letters/remove", {Status.DEAD_LETTER}, Status.FAILED),
        ("dead_letters/retry", {Status.DEAD_LETTER}, Status.PENDING),
    ],
)
def test_a_statement_that_moves_tasks_names_the_old_statuses_and_moves_as_the_table_allows(name: str, before: set[Status], after: Status) -> None:
    text = statement(name).text("waggle")
    assert re.findall(r"SET\s+status = '(\w+)'", text) == [after]
    assert _guards(name) == before
    assert all(after in NEXT[status] for status in before)


def test_no_other_statement_changes_a_status() -> None:
    changing = {name for name in names() if re.search(r"SET\s+status =", statement(name).text("waggle"))}
    assert changing == {
        "tasks/claim",
        "tasks/settle",
        "tasks/cancel",
        "tasks/cancel_waiting",
        "tasks/fail_overdue",
        "dead_letters/remove_expired",
        "dead_letters/remove_excess",
        "dead_letters/remove",
        "dead_letters/retry",
        "audit/correct_rows",  # by `waggle audit --repair`: a running row that can be neither settled nor taken back
    }


def test_settling_moves_only_running_tasks() -> None:
    assert "t.status || '' = 'running'" in statement("tasks/settle").text("waggle")


def _guards(name: str) -> set[str]:
    """The statuses that the first guard of the rows allows."""
    found = re.search(r"status \|\| '' (?:= '(\w+)'|IN \(([^)]*)\))", statement(name).text("waggle"))
    assert found, f"{name}.sql changes rows without looking at their status"
    return {found[1]} if found[1] else set(re.findall(r"'(\w+)'", found[2]))
