"""Checks payloads against the JSON Schemas of their type, as the API does for a new task and the dlq service for a changed one."""

import itertools
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jsonschema_rs
import msgspec

from waggle import secret_fields
from waggle.field_errors import ERROR_LIMIT, NUL, UNREADABLE, FieldError, FieldErrors, Unreadable, holds_nul
from waggle.payload_changes import PayloadChanges, applied
from waggle.submission import read_object
from waggle.task import PAYLOAD_LIMIT
from waggle.validation import Validation, compiled

ALL_ERRORS_BYTES: Final = 128 << 10  # in a larger payload only the first error is reported: finding them all takes up to a second per megabyte


class TypeSchema(NamedTuple):
    """What the payloads of a type may be: the validations of its accepted versions, the newest first, and one schema of what any of its versions hides.

    Without validations any payload fits: no worker has announced the type, or the schema of a version is unusable.
    """

    validations: tuple[Validation, ...]
    secrets: dict[str, Any] | None

    def fits(self, payload: dict[str, Any], text: bytes | str | msgspec.Raw) -> bool:
        """Whether any version takes a payload, whose text this is."""
        return not self.validations or any(validation.of(text).is_valid(payload) for validation in self.validations)


ANY: Final = TypeSchema((), None)


def read(raw: msgspec.Raw, schema: TypeSchema, errors: FieldErrors) -> str:
    """The text of a payload; what is wrong with it, by the newest version, is added to `errors`. Raises Unreadable."""
    text, value = read_object(raw, "payload", PAYLOAD_LIMIT, errors)
    if value is not None and not schema.fits(value, raw):
        newest, all_errors = schema.validations[0].of(raw), len(raw) <= ALL_ERRORS_BYTES
        for error in itertools.islice(newest.iter_errors(value), ERROR_LIMIT) if all_errors else _first(newest, value):
            _add_error(error, "payload" + _path(error.instance_path), errors)
    return text


@lru_cache(maxsize=64)
def of_type(task_type: str, accepted: tuple[str, ...], hiding: tuple[str, ...]) -> TypeSchema:
    """From the schemas (JSON texts) of the accepted versions, the newest first, and of all versions that hide values."""
    found = [compiled(schema, task_type) for schema in accepted]
    usable = tuple([validation for validation in found if validation is not None])
    return TypeSchema(usable if len(usable) == len(found) else (), secret_fields.combined(hiding) if hiding else None)


def changed(changes: PayloadChanges, payload: str, schema: TypeSchema) -> tuple[str | None, list[FieldError]]:
    """A changed payload, and what is wrong with it; None if it could not be changed."""
    errors = FieldErrors()
    try:
        text = applied(changes, payload, schema.secrets, errors)
        raw = msgspec.Raw(text.encode())
        if not errors.errors:  # otherwise the schema would miss what was not copied
            read(raw, schema, errors)
        if holds_nul(raw):
            errors.add("payload", NUL)
    except Unreadable as error:
        return None, [FieldError("payload", str(error))]
    except UNREADABLE as error:
        return None, [FieldError("payload", str(Unreadable(error)))]
    return text, errors.errors


def _first(validator: jsonschema_rs.Validator, payload: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _path(places: list[str | int]) -> str:
    return "".join([f"[{place}]" if isinstance(place, int) else f".{place}" for place in places])


def _add_error(error: jsonschema_rs.ValidationError, field: str, errors: FieldErrors) -> None:
    kind: Any = error.kind
    match kind.name:
        case "required":
            errors.add(f"{field}.{kind.property}", "is required")
        case "additionalProperties":
            for name in kind.unexpected:
                errors.add(f"{field}.{name}", "is not a field of this payload")
        case "falseSchema" if isinstance(error.instance_path[-1], str):
            errors.add(field, "is not a field of this payload")
        case _:
            errors.add(field, error.message)
