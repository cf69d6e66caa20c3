"""Reading requests: the fast and the slow way agree, every error is told, and what cannot be stored is seen."""

import json
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle import submission
from waggle.field_errors import MOST_ERRORS, Findings, Invalid, did_you_mean, holds_nul
from waggle.submission import read_many, read_one

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


def told(findings: Findings) -> dict[str, str]:
    return {error.field: error.message for error in findings.errors}


def comparable(task: submission.CreateTask) -> dict[str, Any]:
    return {field: bytes(value) if isinstance(value, msgspec.Raw) else value for field, value in msgspec.structs.asdict(task).items()}


@given(GOOD)
def test_the_slow_way_reads_every_good_task_as_the_fast_way_does(task: dict[str, Any]) -> None:
    body = json.dumps(task).encode()
    findings = Findings()
    slow = submission._field_by_field(body, findings)
    assert findings.errors == []
    assert comparable(slow) == comparable(submission._one.decode(body))


def test_every_wrong_field_is_told_at_once() -> None:
    findings = Findings()
    read_one(
        b'{"payload":{},"priority":4,"description":7,"queue":1,"max_retries":1001,"timeout":0,"deadline":"soon","run_at":"2026-01-01T00:00:00",'
        b'"delay":-1,"unique_key":"","color":"red","max_retrys":1}',
        findings,
    )
    assert told(findings) == {
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
    findings = Findings()
    read_many(b'{"tasks":[{"type":"a"},{"type":"b","timeout":"x"},7]}', findings)
    assert told(findings) == {
        "tasks[1].timeout": "expected float, got str",
        "tasks[2].type": "is required, in an object with the task's fields: expected object, got int",
    }


@pytest.mark.parametrize(
    "body", [b'{"tasks":[]}', b"[]", b"{}", b'{"tasks":7}', b'{"tasks":[],"more":1}', b"7", b"[" + b'{"type":"a"},' * 1000 + b'{"type":"a"}]']
)
def test_a_batch_that_is_none_is_told_as_one_field(body: bytes) -> None:
    findings = Findings()
    assert read_many(body, findings) == []
    assert list(told(findings)) == ["tasks"]


@pytest.mark.parametrize("body", [b'{"type":"a","timeout":"x"', b'{"type":7}}', b'{"color":1,}', b'{"tasks":[{"type":7}]', b"[7"])
def test_what_is_wrong_and_not_json_either_is_not_json(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match=r"malformed|truncated"):
        (read_many if b"tasks" in body or body[:1] == b"[" else read_one)(body, Findings())


def test_a_request_with_very_many_errors_tells_a_bounded_number() -> None:
    findings = Findings()
    for number in range(MOST_ERRORS + 10):
        findings.add("x" * 10_000, str(number) * 1000)
    with pytest.raises(Invalid) as raised:
        findings.check()
    assert len(raised.value.errors) == MOST_ERRORS
    assert len(raised.value.errors[0].field) <= 200
    assert len(raised.value.errors[-1].message) <= 500


@pytest.mark.parametrize("text", [r'"\u0000"', r'"a\u0000b"', r'{"\u0000":1}', r'"\\\u0000"', r'["\n\u0000"]'])
def test_the_character_nul_is_seen(text: str) -> None:
    assert "\x00" in str(json.loads(text) if text[0] == '"' else "".join(json.loads(text)))
    assert holds_nul(text.encode())


@given(st.recursive(st.text(st.sampled_from("\\u0\x00a\n"), max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_the_character_nul_is_seen_by_the_text_exactly_when_the_value_has_it(value: Any) -> None:
    def has_nul(found: Any) -> bool:
        return "\x00" in found if isinstance(found, str) else any(map(has_nul, found))

    assert holds_nul(json.dumps(value).encode()) == has_nul(value)


def test_a_near_name_is_proposed_and_a_far_one_is_not() -> None:
    assert did_you_mean("emial.send", ["email.send", "demo.echo"]) == "; did you mean email.send?"
    assert did_you_mean("zzz", ["email.send"]) == ""
