"""Secret fields of payloads: found wherever a schema has them, masked, and put back."""

import json
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from waggle import App, Secret, secret_fields
from waggle.secret_fields import MASK


class Card(msgspec.Struct):
    number: Annotated[str, Secret]
    owner: str
    next: "Card | None" = None


app = App()


@app.task("pay")
async def pay(
    token: Annotated[str, Secret],
    amount: float,
    card: Card | None = None,
    cards: list[Card] | None = None,
    pair: tuple[str, Annotated[str, Secret]] | None = None,
    headers: dict[str, Annotated[str, Secret]] | None = None,
    pin: Annotated[int, Secret] | None = None,
    whole: Annotated[dict[str, Any], Secret] | None = None,
) -> None: ...


@app.task("plain")
async def plain(token: str) -> None: ...


SCHEMA = app.handlers["pay"].schema
PAYLOAD: dict[str, Any] = {
    "token": "canary-token",
    "amount": 1,
    "card": {"number": "canary-1", "owner": "anna", "next": {"number": "canary-2", "owner": "berta", "next": None}},
    "cards": [{"number": "canary-3", "owner": "carl"}],
    "pair": ["seen", "canary-4"],
    "headers": {"x-key": "canary-5"},
    "pin": 471147114711,
    "whole": {"deep": ["canary-6"]},
}


def test_a_handler_knows_whether_it_has_secrets() -> None:
    assert app.handlers["pay"].has_secrets
    assert not app.handlers["plain"].has_secrets


def test_every_secret_is_masked_and_nothing_else() -> None:
    found = json.loads(secret_fields.masked_text(json.dumps(PAYLOAD), SCHEMA))
    assert "canary" not in json.dumps(found)
    assert found == {
        "token": MASK,
        "amount": 1,
        "card": {"number": MASK, "owner": "anna", "next": {"number": MASK, "owner": "berta", "next": None}},
        "cards": [{"number": MASK, "owner": "carl"}],
        "pair": ["seen", MASK],
        "headers": {"x-key": MASK},
        "pin": MASK,
        "whole": MASK,
    }


def test_a_field_that_no_payload_may_have_hides_nothing() -> None:
    schema = {"properties": {"ctx": False, "token": {"writeOnly": True}}}
    assert json.loads(secret_fields.masked_text('{"ctx": {"a": 1}, "token": "x"}', schema)) == {"ctx": {"a": 1}, "token": MASK}


def test_a_masked_payload_that_is_sent_back_is_the_one_of_before() -> None:
    masked = json.loads(secret_fields.masked_text(json.dumps(PAYLOAD), SCHEMA))
    masked["amount"] = 2
    masked["card"]["number"] = "a new one"
    found = json.loads(secret_fields.restored_text(json.dumps(masked), json.dumps(PAYLOAD), SCHEMA))
    assert found == {**PAYLOAD, "amount": 2, "card": {**PAYLOAD["card"], "number": "a new one"}}


def test_a_mask_that_hides_nothing_stays() -> None:
    assert json.loads(secret_fields.restored_text('{"token": "***", "amount": "***"}', '{"amount": 7}', SCHEMA)) == {"token": "***", "amount": "***"}


@pytest.mark.parametrize("number", ["1.10", "12345678901234567890", "0.1", "1e2", "-0.0", "1234567890.12345678901234567890"])
def test_numbers_keep_their_value(number: str) -> None:
    text = secret_fields.masked_text(f'{{"token": "x", "amount": {number}}}', SCHEMA).decode()
    shown = text.partition('"amount":')[2].rstrip("}")
    assert Decimal(shown) == Decimal(number)


def test_values_are_masked_in_texts_as_they_are_and_as_literals() -> None:
    odd = 'a"b\\c\n🐝'
    secrets = secret_fields.hidden(json.dumps({**PAYLOAD, "token": odd}), SCHEMA)
    shown = secret_fields.without(f"refused: {odd}, {odd!r}, {json.dumps(odd, ensure_ascii=False)}, canary-1, 471147114711, canary-6; anna stays", secrets)
    assert "canary" not in shown
    assert "471147114711" not in shown
    assert "🐝" not in shown
    assert shown.endswith("; anna stays")


def test_a_short_secret_masks_no_parts_of_words() -> None:
    assert secret_fields.without("a bad answer", ["a", "bad"]) == "a bad answer"


@pytest.mark.parametrize("payload", ["{}", "[]", "null", '"x"', '{"card": 7}', '{"cards": {"number": "x"}}', '{"headers": ["x"]}'])
def test_what_fits_no_schema_is_left_alone(payload: str) -> None:
    assert json.loads(secret_fields.masked_text(payload, SCHEMA)) == json.loads(payload)


def test_what_any_version_hides_is_hidden_also_where_another_version_shows_it() -> None:
    shows = '{"properties":{"data":{"$ref":"#/$defs/D"}},"$defs":{"D":{"properties":{"note":{"type":"string"},"token":{"writeOnly":true}}}}}'
    hides = '{"properties":{"data":{"additionalProperties":{"$ref":"#/$defs/D"}}},"$defs":{"D":{"type":"string","writeOnly":true}}}'
    for schemas in ((shows, hides), (hides, shows)):
        masked = secret_fields.masked_text('{"data": {"note": "b", "token": "c", "extra": "d"}, "other": "e"}', secret_fields.combined(schemas))
        assert json.loads(masked) == {"data": {"note": MASK, "token": MASK, "extra": MASK}, "other": "e"}


def test_fields_that_a_pattern_names_are_hidden() -> None:
    schema = {"properties": {"a": {"type": "string"}}, "patternProperties": {"^k": {"writeOnly": True}}}
    assert json.loads(secret_fields.masked_text('{"k1": "x", "a": "y"}', schema)) == {"k1": MASK, "a": "y"}
