"""Reading submissions: decoding at once and field by field agree, every error is reported, and what cannot be stored is found."""

import json
import subprocess
import sys
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle import submission
from waggle.field_errors import ERROR_LIMIT, FieldErrors, Invalid, Unreadable, did_you_mean, holds_nul
from waggle.submission import check, read_batch, read_task

TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
GOOD = st.fixed_dictionaries(
    {"type": st.text(max_size=5)},
    optional={
        "payload": st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3),
        "priority": st.integers(0, 3) | st.sampled_from(["LOW", "high", "Critical"]) | st.none(),
        "description": st.text(max_size=20) | st.none(),
        "metadata": st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
        "queue": st.text(max_size=5) | st.none(),
        "max_retries": st.integers(0, 1000) | st.none(),
        "timeout": st.floats(0.001, 604_800) | st.none(),
        "deadline": TIMES | st.none(),
        "run_at": TIMES | st.none(),
        "delay": st.floats(0, 1e7) | st.none(),
        "unique_key": st.text(min_size=1, max_size=5) | st.none(),
    },
)


def messages(errors: FieldErrors | None) -> dict[str, str]:
    assert errors is not None
    return {error.field: error.message for error in errors.errors}


def comparable(task: submission.CreateTask) -> dict[str, Any]:
    return {field: bytes(value) if isinstance(value, msgspec.Raw) else value for field, value in msgspec.structs.asdict(task).items()}


@given(GOOD)
def test_decoding_field_by_field_gives_the_same_task_as_decoding_at_once(task: dict[str, Any]) -> None:
    body = json.dumps(task).encode()
    errors = FieldErrors()
    (slow,) = submission._task_by_field(body, errors)
    assert errors.errors == []
    assert comparable(slow) == comparable(read_task(body).tasks[0])


def test_every_wrong_field_is_reported_at_once() -> None:
    found = read_task(
        b'{"payload":{},"priority":4,"description":7,"queue":1,"max_retries":1001,"timeout":0,"deadline":"soon","run_at":"2026-01-01T00:00:00",'
        b'"delay":-1,"unique_key":"","color":"red","max_retrys":1}'
    )
    assert messages(found.errors) == {
        "type": "is required",
        "priority": "expected int <= 3",
        "description": "expected str, got int",
        "queue": "expected str, got int",
        "max_retries": "expected int <= 1000",
        "timeout": "expected float > 0.0",
        "deadline": "invalid RFC3339 encoded datetime",
        "run_at": "expected datetime with a timezone component",
        "delay": "expected float >= 0.0",
        "unique_key": "expected str of length >= 1",
        "color": "is not a field of a task",
        "max_retrys": "is not a field of a task; did you mean max_retries?",
    }


def test_errors_in_a_batch_name_their_task() -> None:
    found = read_batch(b'{"tasks":[{"type":"a"},{"type":"b","timeout":"x"},7]}')
    assert messages(found.errors) == {
        "tasks[1].timeout": "expected float, got str",
        "tasks[2].type": "is required, in an object with the task's fields: expected object, got int",
    }


@pytest.mark.parametrize(
    "body", [b'{"tasks":[]}', b"[]", b"{}", b'{"tasks":7}', b'{"tasks":[],"more":1}', b"7", b"[" + b'{"type":"a"},' * 1000 + b'{"type":"a"}]']
)
def test_a_malformed_batch_is_reported_as_one_field(body: bytes) -> None:
    found = read_batch(body)
    assert found.tasks == []
    assert list(messages(found.errors)) == ["tasks"]


@pytest.mark.parametrize("body", [b'{"type":"a","timeout":"x"', b'{"type":7}}', b'{"color":1,}', b'{"tasks":[{"type":7}]', b"[7"])
def test_a_text_with_wrong_fields_that_is_not_json_either_is_not_json(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^is not JSON: .*(malformed|truncated)"):
        (read_batch if b"tasks" in body or body[:1] == b"[" else read_task)(body)


def test_everything_that_needs_no_catalogue_is_checked_in_advance() -> None:
    found = check(
        read_batch(
            rb"""[
                {"type": "Bad Name", "payload": [1], "metadata": {"n": [1e-60000, 1e-60000]}, "priority": "urgent", "timeout": -1},
                {"type": "a", "run_at": "2026-01-01T00:00:00Z", "delay": 1, "deadline": "9999-12-31T00:00:00Z", "description": "\u0000"},
                {"type": "a", "payload": {"text": "\u0000"}, "metadata": null, "priority": "high"}
            ]"""
        )
    )
    assert messages(found) == {
        "tasks[0].timeout": "expected float > 0.0",
        "tasks[0].type": r"must have at most 64 characters and match ^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$",
        "tasks[0].payload": "must be an object",
        "tasks[0].metadata": "has more than 65536 bytes of JSON once its numbers are written without exponents",
        "tasks[0].priority": "must be 0 to 3 or one of LOW, MEDIUM, HIGH, CRITICAL",
        "tasks[1].deadline": "is outside the years 2 to 9998",
        "tasks[1].delay": "give run_at or delay, not both",
        "tasks[1].description": "the character U+0000 cannot be stored",
        "tasks[2].payload": "the character U+0000 cannot be stored",
    }


def test_a_good_submission_passes_the_check() -> None:
    assert check(read_task(b'{"type":"a","payload":{"n":1},"priority":3,"run_at":"2026-01-01T00:00:00+02:00"}')).errors == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"[" * 600 + b"]" * 600, "is nested too deeply: 512 levels are allowed"), (b'"\xff"', "is not UTF-8"), (b"1e400", "is not JSON: Number out of range")],
)
def test_a_payload_that_cannot_be_read_is_no_field_error(payload: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"^{reason}"):
        check(read_task(b'{"type":"a","payload":{"a":' + payload + b"}}"))


def test_very_many_errors_are_reported_up_to_a_limit() -> None:
    errors = FieldErrors()
    for number in range(ERROR_LIMIT + 10):
        errors.add("x" * 10_000, str(number) * 1000)
    with pytest.raises(Invalid) as raised:
        errors.check()
    assert len(raised.value.errors) == ERROR_LIMIT
    assert len(raised.value.errors[0].field) <= 200
    assert len(raised.value.errors[-1].message) <= 500


@pytest.mark.parametrize("text", [r'"\u0000"', r'"a\u0000b"', r'{"\u0000":1}', r'"\\\u0000"', r'["\n\u0000"]'])
def test_the_character_nul_is_found(text: str) -> None:
    assert "\x00" in str(json.loads(text) if text[0] == '"' else "".join(json.loads(text)))
    assert holds_nul(text.encode())


@given(st.recursive(st.text(st.sampled_from("\\u0\x00a\n"), max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_the_character_nul_is_found_in_the_text_exactly_when_the_value_has_it(value: Any) -> None:
    def has_nul(found: Any) -> bool:
        return "\x00" in found if isinstance(found, str) else any(map(has_nul, found))

    assert holds_nul(json.dumps(value).encode()) == has_nul(value)


def test_a_near_name_is_proposed_and_a_far_one_is_not() -> None:
    assert did_you_mean("emial.send", ["email.send", "demo.echo"]) == "; did you mean email.send?"
    assert did_you_mean("zzz", ["email.send"]) == ""


def test_the_contract_of_a_submission_needs_neither_servers_nor_their_clients() -> None:
    heavy = "asyncpg", "nats", "uvicorn", "litestar", "alembic", "prometheus_client"
    code = f"import sys, waggle.submission; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
