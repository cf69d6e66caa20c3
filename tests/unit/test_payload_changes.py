"""Changes to payloads: what is set, copied and dropped; what cannot be; and that no secret is seen."""

import json
from typing import Annotated, Any
from uuid import uuid4

import msgspec
import pytest

from waggle import App, Secret, payload_changes, payload_schema
from waggle.field_errors import FieldErrors
from waggle.payload_changes import PayloadChanges

app = App()


@app.task("pay")
async def pay(card: Annotated[str, Secret], amount: float, note: str = "", spare: Annotated[str, Secret] = "") -> None: ...


HANDLER = app.handlers["pay"]
SCHEMA: dict[str, Any] = HANDLER.schema
PAY = payload_schema.of_type("pay", (text := json.dumps(SCHEMA),), (text,))
UNKNOWN = payload_schema.ANY


def changes(text: str) -> PayloadChanges:
    return msgspec.json.decode(text, type=PayloadChanges)


CHANGED = {
    "a field is renamed": ('{"copy": {"b": "a"}, "drop": ["a"]}', '{"a":1,"c":2}', '{"c":2,"b":1}'),
    "two fields are exchanged": ('{"copy": {"a": "b", "b": "a"}}', '{"a":1,"b":2}', '{"a":2,"b":1}'),
    "a field is set": ('{"set": {"a": {"x": [null]}}}', '{"a":1}', '{"a":{"x": [null]}}'),
    "numbers stay as they were written": ('{"set": {"b": 1.50e3}}', '{"a":12345678901234567890.10}', '{"a":12345678901234567890.10,"b":1.50e3}'),
    "a field that is not there is dropped": ('{"drop": ["x"]}', '{"a":1}', '{"a":1}'),
}


@pytest.mark.parametrize(("asked", "before", "after"), CHANGED.values(), ids=list(CHANGED))
def test_a_payload_is_changed(asked: str, before: str, after: str) -> None:
    assert payload_schema.changed(changes(asked), before, UNKNOWN) == (after, [])


UNFIT = {
    "nothing to copy": ('{"copy": {"amount": "sum"}}', '{"card":"4711-4711"}', "payload.sum", "is not in this payload: there is nothing to copy to amount"),
    "a required field": ('{"drop": ["amount"]}', '{"card":"4711-4711","amount":1}', "payload.amount", "is required"),
    "an unknown field": ('{"set": {"sum": 1}}', '{"card":"4711-4711","amount":1}', "payload.sum", "is not a field of this payload"),
    "a wrong value": ('{"set": {"amount": "x"}}', '{"card":"4711-4711"}', "payload.amount", 'the value is not of type "number"'),
    "a secret that would be seen": (
        '{"copy": {"note": "card"}}',
        '{"card":"4711-4711","amount":1}',
        "payload.note",
        "card is secret and note is not: its value is not copied",
    ),
}


@pytest.mark.parametrize(("asked", "before", "field", "message"), UNFIT.values(), ids=list(UNFIT))
def test_a_payload_that_does_not_fit_is_found(asked: str, before: str, field: str, message: str) -> None:
    _, errors = payload_schema.changed(changes(asked), before, PAY)
    assert [(error.field, error.message) for error in errors] == [(field, message)]


UNREADABLE = {"nested too deeply": '{"a":' + "[" * 20_000 + "]" * 20_000 + "}", "a list": "[]", "half a character": '{"a":"\\ud800"}'}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_cannot_be_read_is_unfit(payload: str) -> None:
    assert payload_schema.changed(changes('{"set": {"b": 1}}'), payload, PAY)[1]


def test_the_mask_of_a_secret_keeps_its_value() -> None:
    found, _ = payload_schema.changed(changes('{"set": {"card": "***", "amount": 2}}'), '{"card":"4711-4711","amount":1}', PAY)
    assert found == '{"card":"4711-4711","amount":2}'


def test_a_secret_is_masked_before_and_after_it_gets_its_name() -> None:
    rename = changes('{"copy": {"card": "number"}, "drop": ["number"]}')
    before = '{"number":"4711-4711","amount":1}'
    after, errors = payload_schema.changed(rename, before, PAY)
    assert (after, errors) == ('{"amount":1,"card":"4711-4711"}', [])
    assert payload_changes.masked(rename, before, SCHEMA) == b'{"number":"***","amount":1}'
    assert payload_changes.masked(rename, after, SCHEMA) == b'{"amount":1,"card":"***"}'


def test_values_that_become_secret_are_masked_in_the_changes() -> None:
    shown = payload_changes.without_secrets(changes('{"set": {"card": "4711-4711", "note": "x"}, "drop": ["y"]}'), SCHEMA)
    assert msgspec.json.encode(shown) == b'{"set":{"card":"***","note":"x"},"drop":["y"]}'


WRONG = {
    "nothing": ("{}", ["changes"]),
    "set and copied": ('{"set": {"a": 1}, "copy": {"a": "b"}}', ["changes.copy.a"]),
    "set and dropped": ('{"set": {"a": 1}, "drop": ["a"]}', ["changes.drop"]),
    "U+0000": ('{"set": {"a": "\\u0000"}}', ["changes"]),
    "too many": (json.dumps({"drop": [str(uuid4()) for _ in range(101)]}), ["changes"]),
}


@pytest.mark.parametrize(("asked", "fields"), WRONG.values(), ids=list(WRONG))
def test_changes_that_contradict_themselves_are_refused(asked: str, fields: list[str]) -> None:
    errors = FieldErrors()
    payload_changes.check(changes(asked), errors)
    assert [error.field for error in errors.errors] == fields
