"""Errors in the seed's words, and what of them is stored and shown."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from waggle.errors import MESSAGE_LIMIT, RECOVERY, ErrorCode, TaskError, storable

SEED = {
    "unauthorized",
    "invalid_input",
    "not_found",
    "rate_limit_exceeded",
    "service_unavailable",
    "internal_error",
    "network_error",
    "validation_error",
    "task_execution_failed",
    "task_timeout",
    "task_cancelled",
}


def as_json(error: TaskError) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(error.shown())
    return shown


def test_the_codes_are_the_seeds() -> None:
    assert set(ErrorCode) == SEED


def test_every_code_has_a_recovery_strategy() -> None:
    assert set(RECOVERY) == set(ErrorCode)


def test_a_recovery_strategy_has_the_seeds_field_names() -> None:
    shown = msgspec.to_builtins(RECOVERY[ErrorCode.UNAUTHORIZED])
    assert set(shown) == {"retryable", "requiresUserInput", "alternativeAction"}


def test_an_error_is_shown_with_its_recovery_strategy() -> None:
    shown = as_json(TaskError(ErrorCode.TASK_TIMEOUT, "too slow", retryable=True))
    assert shown["code"] == "task_timeout"
    assert shown["message"] == "too slow"
    assert shown["requiresUserInput"] is False
    assert "alternativeAction" in shown
    assert "details" not in shown


def test_a_handler_knows_better_than_the_codes_usual_strategy_whether_a_retry_helps() -> None:
    assert RECOVERY[ErrorCode.TASK_EXECUTION_FAILED].retryable
    assert as_json(TaskError(ErrorCode.TASK_EXECUTION_FAILED, "no", retryable=False))["retryable"] is False


def test_details_are_shown_when_there_are_some() -> None:
    assert as_json(TaskError(ErrorCode.VALIDATION_ERROR, "no", retryable=False, details={"field": "to"}))["details"] == {"field": "to"}


def test_a_strategy_without_an_alternative_leaves_it_out() -> None:
    assert "alternativeAction" not in as_json(TaskError(ErrorCode.TASK_CANCELLED, "no", retryable=False))


@given(st.text(st.characters(codec=None), max_size=3 * MESSAGE_LIMIT))
def test_whatever_an_exception_says_postgres_can_store_it(text: str) -> None:
    stored = storable(text)
    assert "\x00" not in stored
    assert len(stored) <= MESSAGE_LIMIT
    stored.encode("utf-8")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=100))
def test_an_ordinary_message_is_stored_as_it_is(text: str) -> None:
    assert storable(text) == text
