"""A schema that the validator cannot compile as a whole is still checked as far as it goes."""

import json
from typing import Any

import pytest

from waggle.payloads.patterns import portable
from waggle.validation import compiled


def fits(schema: Any, value: Any) -> bool:
    found = compiled(json.dumps(schema), "a.type")
    assert found is not None
    text = json.dumps(value).encode()
    assert found.quick is None or found.quick.is_valid(value) or not found.exact.is_valid(value)
    return found.of(text).is_valid(value)


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def test_a_pattern_that_only_python_can_read_is_checked_and_so_is_the_rest() -> None:
    schema = of(a={"pattern": "^(?P<a>x)(?P=a)$"}, b={"type": "integer"})
    assert fits(schema, {"a": "xx", "b": 1})
    assert not fits(schema, {"a": "xy"})
    assert not fits(schema, {"b": "1"})
    assert not fits(schema, {"c": 1})


def test_a_pattern_that_is_too_large_for_the_validator_is_checked_by_python() -> None:
    schema = of(a={"type": "string", "pattern": r"^[\p{L}\p{N}_]{1,4096}\n?$", "pythonPattern": r"^\w{1,4096}$"})
    assert fits(schema, {"a": "café"})
    assert not fits(schema, {"a": "a b"})


@pytest.mark.parametrize("pattern", [r"\bx", r"(a|b$)c", r"^(?=.*x)"])
def test_a_text_may_be_as_long_as_a_payload(pattern: str) -> None:
    schema = of(a={"type": "string", "pattern": portable(pattern)})
    assert fits(schema, {"a": "ab" * 500_000 + "ac x"})
    assert not fits(schema, {"a": "ab" * 500_000})


@pytest.mark.parametrize("wrong", [{"type": "money"}, {"pattern": "("}, {"minimum": "x"}, {"anyOf": [{"type": "string"}, 5]}])
def test_what_nobody_can_check_is_left_out_alone(wrong: Any) -> None:
    schema = of(a=wrong, b={"type": "integer"})
    assert fits(schema, {"a": "anything", "b": 1})
    assert not fits(schema, {"a": "anything", "b": "1"})


@pytest.mark.parametrize("schema", ["", "5", '{"$ref": "#/$defs/missing"}', '{"$ref": "http://127.0.0.1:9/"}'])
def test_a_schema_that_says_nothing_leaves_the_check_to_the_worker(schema: str) -> None:
    assert compiled(schema, "a.type") is None


def test_a_format_that_no_decoder_checks_is_left_alone() -> None:
    schema = of(a={"type": "string", "format": "email"}, b={"type": "string", "format": "uuid"})
    assert fits(schema, {"a": "not an address"})
    assert not fits(schema, {"b": "x"})


@pytest.mark.parametrize("digits", [308, 309, 310, 400, 1000])
@pytest.mark.parametrize("before", [0, 1, 153, 154, 155, 400])
def test_a_whole_number_that_no_double_holds_is_seen_wherever_it_stands(digits: int, before: int) -> None:
    found = compiled(json.dumps(of(a={"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308}, b={})), "a.type")
    assert found is not None
    payload = {"b": "x" * before, "a": int("9" * digits)}
    assert found.of(json.dumps(payload).encode()).is_valid(payload) == (digits < 309)


def test_the_errors_say_what_is_wrong() -> None:
    schema = of(a={"pythonPattern": "(?i)^a"}, b={"format": "byte", "maxBytes": 4}, c={"propertyNames": {"parsedAs": {"minimum": 5}}})
    found = compiled(json.dumps(schema), "a.type")
    assert found is not None
    messages = [error.message for error in found.exact.iter_errors({"a": "b", "b": "AQIDBAU=", "c": {"3": 1}})]
    assert messages == ['the value does not match "(?i)^a"', "the value has more than 4 bytes", "the text stands for a number that is not allowed"]
