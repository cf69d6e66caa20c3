"""What a handler's return value or exception comes to."""

import math
from typing import Any, cast

import msgspec
import pytest

from waggle import Reject, Retry, Snooze
from waggle.context import LONGEST_SNOOZE_SECONDS, BreakerOpen
from waggle.errors import ErrorCode
from waggle.nesting import LEVELS
from waggle.task import RESULT_LIMIT, Done, Failed, Snoozed
from waggle_worker import outcomes


def test_a_value_becomes_json() -> None:
    assert outcomes.of_result({"a": [1, None]}) == Done('{"a":[1,null]}')


def test_no_value_is_no_result() -> None:
    assert outcomes.of_result(None) == Done(None)


def test_a_result_may_have_one_mebibyte_and_not_a_byte_more() -> None:
    assert isinstance(outcomes.of_result("x" * (RESULT_LIMIT - 2)), Done)
    too_large = outcomes.of_result("x" * (RESULT_LIMIT - 1))
    assert isinstance(too_large, Failed)
    assert not too_large.error.retryable


@pytest.mark.parametrize("value", [object(), {1: {2}, "x": object()}, "\ud800"])
def test_what_is_not_json_fails_for_good(value: object) -> None:
    outcome = outcomes.of_result(value)
    assert isinstance(outcome, Failed)
    assert not outcome.error.retryable


class Measured(msgspec.Struct):
    value: float | None


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [None, -math.inf], {"a": {"b": (1, math.nan)}}, Measured(math.nan), {"a": msgspec.Raw(b"null"), "b": math.inf}]
)
def test_a_number_that_json_does_not_have_fails_for_good(value: object) -> None:
    outcome = outcomes.of_result(value)
    assert isinstance(outcome, Failed)
    assert not outcome.error.retryable
    assert "JSON has no" in outcome.error.message


@pytest.mark.parametrize(("value", "text"), [({"null": 1.5}, '{"null":1.5}'), (Measured(None), '{"value":null}'), ([msgspec.Raw(b"null")], "[null]")])
def test_null_is_a_value(value: object, text: str) -> None:
    assert outcomes.of_result(value) == Done(text)


def test_a_result_may_be_nested_to_the_limit_and_not_a_level_more() -> None:
    deep: list[Any] = []
    for _ in range(LEVELS - 1):
        deep = [deep]
    assert outcomes.of_result(deep) == Done("[" * LEVELS + "]" * LEVELS)
    too_deep = outcomes.of_result([deep])
    assert isinstance(too_deep, Failed)
    assert "nested more than 512 levels deep" in too_deep.error.message
    assert not too_deep.error.retryable


def test_an_exception_is_a_failed_try_with_its_traceback() -> None:
    try:
        raise ValueError("bad \x00 thing")
    except ValueError as error:
        outcome = outcomes.of_exception(error)
    assert isinstance(outcome, Failed)
    assert outcome.error.code is ErrorCode.TASK_EXECUTION_FAILED
    assert outcome.error.retryable
    assert outcome.error.message == "ValueError: bad � thing"
    assert outcome.error.details is not None
    assert "worker/test_outcomes.py" in outcome.error.details["traceback"]
    assert b"\\u0000" not in msgspec.json.encode(outcome.error)


def test_what_a_handler_asks_for_it_gets() -> None:
    assert outcomes.of_exception(Snooze(3)) == Snoozed(3)
    rejected, again = outcomes.of_exception(Reject("never")), outcomes.of_exception(Retry(after=2))
    assert isinstance(rejected, Failed)
    assert not rejected.error.retryable
    assert isinstance(again, Failed)
    assert again.error.retryable
    assert again.after == 2


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"value": object()}, "TypeError"),
        ({"text": "caf\udce9"}, "UnicodeEncodeError"),
        ({"ratio": math.nan}, "JSON has no nan"),
        ({"text": "x" * outcomes.DETAILS_LIMIT}, "bytes"),
        (["not an object"], "Expected `object`"),
    ],
)
def test_details_that_cannot_be_stored_are_left_out_with_the_reason(details: Any, why: str) -> None:
    for outcome in (outcomes.of_exception(Reject("no", details=details)), outcomes.of_exception(Retry(2, "again", details=details))):
        assert isinstance(outcome, Failed)
        assert outcome.error.message in ("no", "again")
        assert why in msgspec.json.decode(msgspec.json.encode(outcome.error))["details"]["details_dropped"]


def test_details_keep_all_that_postgres_can_store() -> None:
    outcome = outcomes.of_exception(Retry(details={"a\0": ["b\0", {"c": r"\u0000"}], "n": 1}))
    assert isinstance(outcome, Failed)
    assert outcome.error.details == {"a\ufffd": ["b\ufffd", {"c": r"\u0000"}], "n": 1}


def test_a_code_of_the_handlers_own_is_none_that_the_api_could_show() -> None:
    own, known = (outcomes.of_exception(Reject("no", code=cast("ErrorCode", code))) for code in ("my_code", "not_found"))
    assert isinstance(own, Failed)
    assert isinstance(known, Failed)
    assert (own.error.code, known.error.code) == (ErrorCode.TASK_EXECUTION_FAILED, ErrorCode.NOT_FOUND)


def test_every_wait_ends() -> None:
    snoozed, again = outcomes.of_exception(Snooze(math.inf)), outcomes.of_exception(Retry(1e300))
    assert isinstance(snoozed, Snoozed)
    assert isinstance(again, Failed)
    assert snoozed.delay == again.after == LONGEST_SNOOZE_SECONDS


class Whole(BaseExceptionGroup):  # type: ignore[type-arg]
    """A group of somebody's own."""


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "same_as"),
    [
        (group(Snooze(3)), Snooze(3)),
        (group(Snooze(3), group(group(Snooze(5)), Snooze(4))), Snooze(5)),
        (group(BreakerOpen("smtp", 7, "it is open"), Snooze(3)), BreakerOpen("smtp", 7, "it is open")),
        (group(Snooze(3), Reject("never", code=ErrorCode.NOT_FOUND)), Reject("never", code=ErrorCode.NOT_FOUND)),
        (group(ValueError("x"), Reject("never"), Retry(2)), Reject("never")),
        (group(Snooze(3), Retry(2, "soon"), Retry(9, "later")), Retry(9, "later")),
        (Whole("own", [group(Retry(None, "soon"))]), Retry(None, "soon")),
    ],
)
def test_in_a_group_the_strongest_decides(error: BaseException, same_as: BaseException) -> None:
    assert outcomes.of_exception(error) == outcomes.of_exception(same_as)


def test_a_failure_in_a_group_is_named_itself_and_the_traceback_shows_them_all() -> None:
    try:
        raise group(Snooze(3), ValueError("first"), Retry(4.0, "soon"), KeyError("second"))
    except BaseExceptionGroup as error:
        outcome = outcomes.of_exception(error)
    assert isinstance(outcome, Failed)
    assert (outcome.error.message, outcome.after, outcome.error.retryable) == ("ValueError: first", 4.0, True)
    assert outcome.error.details is not None
    assert outcome.error.details["exception"] == "ValueError"
    assert all(text in outcome.error.details["traceback"] for text in ("ValueError: first", "KeyError: 'second'", "several"))


def test_a_group_may_be_as_deep_as_python_makes_it() -> None:
    error, failure = (group(Snooze(3)), group(ValueError("deep")))
    for _ in range(5_000):
        error, failure = group(error), group(failure)
    assert outcomes.of_exception(error) == Snoozed(3)
    outcome = outcomes.of_exception(failure)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "ValueError: deep"


@pytest.mark.parametrize("wait", [Snooze, Retry])
def test_a_wait_that_is_no_number_is_a_mistake_of_the_handler(wait: type[Snooze] | type[Retry]) -> None:
    with pytest.raises(ValueError, match="a wait must be a number of seconds, not nan"):
        wait(math.nan)
