"""Changes that a bulk retry makes to the payloads of dead letters: fields are set, copied and dropped. Pure.

Every value is read from the payload as it was, so that two fields can be exchanged. Names are those of the payload's own fields, not of fields inside them.
"""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Raw

from waggle import secret_fields
from waggle.field_errors import NUL, FieldError, FieldErrors, holds_nul
from waggle.secret_fields import MASK, Schema

FIELDS_LIMIT: Final = 100
NAME_LENGTH: Final = 200

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]

_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class PayloadChanges(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What changes in each payload: `set` gives fields a value, `copy` gives a field the value of another one (`{"new": "old"}`), `drop` removes fields."""

    set: dict[Name, Raw] = {}
    copy: dict[Name, Name] = {}
    drop: list[Name] = []


class Unfit(msgspec.Struct, frozen=True):
    """A dead letter that stays one, because its changed payload is not valid."""

    id: UUID
    errors: list[FieldError]


def check(changes: PayloadChanges, errors: FieldErrors) -> None:
    """Add what is wrong with changes, whatever the payloads are."""
    written = [*changes.set, *changes.copy]
    if not written and not changes.drop:
        errors.add("changes", "give at least one of set, copy and drop")
    if len(written) + len(changes.drop) > FIELDS_LIMIT:
        errors.add("changes", f"may name up to {FIELDS_LIMIT} fields")
    for name in changes.copy.keys() & changes.set.keys():
        errors.add(f"changes.copy.{name}", "is in set, too")
    for name in sorted({*changes.drop} & {*written}):
        errors.add("changes.drop", f"{name} is in set or copy, too")
    if holds_nul(msgspec.json.encode(changes)):
        errors.add("changes", NUL)


def applied(changes: PayloadChanges, payload: str, schema: Schema | None, errors: FieldErrors) -> str:
    """The changed payload. `schema` is that of a type with secret fields: a mask in their place keeps the value of before, and none is copied to where it
    would be seen.
    """
    before = _fields(payload.encode())
    after = {name: value for name, value in before.items() if name not in changes.drop} | changes.set
    for new, old in changes.copy.items():
        if old not in before:
            errors.add(f"payload.{old}", f"is not in this payload: there is nothing to copy to {new}")
        elif schema is not None and not _stays_hidden(before[old], old, new, schema):
            errors.add(f"payload.{new}", f"{old} is secret and {new} is not: its value is not copied")
        else:
            after[new] = before[old]
    text = msgspec.json.encode(after)
    return (text if schema is None else secret_fields.restored_text(text, payload, schema)).decode()


def masked(changes: PayloadChanges, payload: str, schema: Schema) -> bytes:
    """A payload before or after the changes, without its secrets, and without what one of the changes makes a secret."""
    shown: dict[str, Any] = _fields(secret_fields.masked_text(payload, schema))
    given = _fields(payload.encode())
    for new, old in changes.copy.items():
        if old in given and _hidden(given[old], new, schema):
            shown[old] = MASK
    return msgspec.json.encode(shown)


def without_secrets(changes: PayloadChanges, schema: Schema) -> PayloadChanges:
    """The changes with the values masked that are secret in this schema."""
    return msgspec.structs.replace(changes, set=_fields(secret_fields.masked_text(msgspec.json.encode(changes.set), schema)))


def _stays_hidden(value: Raw, old: str, new: str, schema: Schema) -> bool:
    return _hidden(value, old, schema) <= _hidden(value, new, schema)


def _hidden(value: Raw, name: str, schema: Schema) -> set[str]:
    """The secret texts of a value in this field."""
    return {*secret_fields.hidden(msgspec.json.encode({name: value}), schema)}
