"""What requests about dead letters may hold: query strings, bodies, and the cursor of their list."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from waggle import nesting, payload_changes
from waggle.errors import ErrorCode
from waggle.field_errors import NUL, UNREADABLE, FieldError, FieldErrors, Unreadable, plain
from waggle.payload_changes import PayloadChanges
from waggle.redrive import LIMIT_MAX, RATE_MAX, RATE_MIN, DeadLetterFilter
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Object
from waggle_api.http import cursors, queries
from waggle_api.http.queries import Parameter, Value
from waggle_api.refusals import Malformed
from waggle_api.routes import parameters

AGE_LIMIT: Final = 100 * 365 * 86_400.0  # seconds
TEXT_LENGTH: Final = 200
IDS_LIMIT: Final = 1_000
FINGERPRINT: Final = r"^[0-9a-f]{16}$"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

# `filter_of` checks these: the union handling of msgspec 0.22.0 is avoided for them, because it crashed.
TypeName = Annotated[str, Meta(extra_json_schema={"pattern": TYPE_PATTERN, "maxLength": TYPE_LENGTH})]
Age = Annotated[float, Meta(ge=0, le=AGE_LIMIT)]


class RetryDeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to retry a dead letter: with another payload, which must fit its type's schema, or with its own."""

    payload: Object | None = None


class CleanUpDeadLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to clean up: what died more than `older_than` seconds ago; without it, what exceeds the period and size of the settings."""

    older_than: Age | None = None


class RetryDeadLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to retry: at least one filter, or `all`. Ages are in seconds, `rate` is in tasks per second, `limit` is the maximum number.

    `changes` are made to the payload of each; one that does not fit its type's schema afterwards stays a dead letter. With `dry_run` they are only counted,
    and the first ten are shown as they would be changed.
    """

    type: TypeName | Annotated[list[TypeName], Meta(min_length=1, max_length=queries.VALUES_LIMIT)] | None = None
    queue: Annotated[str, Meta(pattern=QUEUE_PATTERN, max_length=QUEUE_LENGTH)] | None = None
    code: ErrorCode | Annotated[list[ErrorCode], Meta(min_length=1)] | None = None
    text: Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH)] | None = None
    older_than: Age | None = None
    newer_than: Age | None = None
    fingerprint: Annotated[str, Meta(pattern=FINGERPRINT)] | None = None
    ids: Annotated[list[UUID], Meta(min_length=1, max_length=IDS_LIMIT)] | None = None
    all: bool | None = None
    dry_run: bool | None = None
    rate: Annotated[float, Meta(ge=RATE_MIN, le=RATE_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] | None = None
    changes: PayloadChanges | None = None


class ChangedDeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dead letter before and after the changes of a bulk retry; with `errors` it would stay a dead letter."""

    id: UUID
    type: str
    before: Object | None = None
    after: Object | None = None
    errors: list[FieldError] = []
    hidden: list[str] | None = None


class Matched(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many dead letters would be retried, and the first ten with their changed payloads if there are changes."""

    matched: int
    dry_run: bool
    first: list[ChangedDeadLetter] | None = None


def filter_of(wanted: RetryDeadLetters) -> DeadLetterFilter:
    """The filter of a bulk retry. Raises Invalid if there is none, or one that cannot match."""
    found = DeadLetterFilter(
        type=[wanted.type] if isinstance(wanted.type, str) else wanted.type,
        queue=wanted.queue,
        code=[wanted.code] if isinstance(wanted.code, str) else None if wanted.code is None else [*wanted.code],
        text=wanted.text,
        older_than=wanted.older_than,
        newer_than=wanted.newer_than,
        fingerprint=wanted.fingerprint,
        ids=wanted.ids,
    )
    errors = FieldErrors()
    if found == DeadLetterFilter() and not wanted.all:
        errors.add("all", 'give at least one filter, or "all": true')
    names: list[tuple[str, Callable[[str], object], str]] = [("type", parameters.type_name, name) for name in found.type or []]
    names += [("queue", parameters.queue_name, found.queue)] if found.queue else []
    names += [("fingerprint", _fingerprint, found.fingerprint)] if found.fingerprint else []
    for field, check, name in names:  # msgspec accepts a line break after a pattern
        try:
            check(name)
        except ValueError as error:
            errors.add(field, str(error))
    if "\x00" in (wanted.text or ""):
        errors.add("text", NUL)
    if wanted.changes is not None:
        payload_changes.check(wanted.changes, errors)
    errors.check()
    return found


def edited_payload(body: bytes) -> msgspec.Raw | None:
    """The payload in a retry's body, as it was sent; None if there is none. Raises Malformed, Unreadable or Invalid."""
    if not body:
        return None
    errors = FieldErrors()
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        for name, value in fields.items():
            nesting.check(value)
            if name != "payload":
                errors.add(name, "is not a field of this body" + errors.propose(name, ["payload"]))
        raw = fields.get("payload")
        if raw is not None and msgspec.json.decode(raw) is None:
            raw = None
    except msgspec.ValidationError as error:
        raise Malformed(f"send an object, or no body: {plain(error)}") from error
    except UNREADABLE as error:
        raise Unreadable(error) from error
    errors.check()
    return None if raw is None else raw.copy()


def write_cursor(updated: datetime, last: UUID) -> str:
    """A position in the list: when the last task of a page died, and its id."""
    return base64.urlsafe_b64encode(((updated - EPOCH) // MICROSECOND).to_bytes(8, "big") + last.bytes).decode()


def _cursor(text: str) -> tuple[datetime, UUID]:
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True) if len(text) == 32 else b""
        return EPOCH + int.from_bytes(raw[:8], "big") * MICROSECOND, UUID(bytes=raw[8:])
    except (binascii.Error, ValueError, OverflowError):
        raise ValueError(cursors.INVALID) from None


def _text(text: str) -> str:
    if not 1 <= len(text) <= TEXT_LENGTH or "\x00" in text:
        raise ValueError(f"must have 1 to {TEXT_LENGTH} characters, without U+0000")
    return text


def _fingerprint(text: str) -> str:
    if not re.fullmatch(FINGERPRINT, text):
        raise ValueError("must be the fingerprint of a group: 16 hexadecimal digits")
    return text


FILTERS: Final[Mapping[str, Parameter]] = {
    "type": queries.many(parameters.type_name, "dead letters of one of these types"),
    "queue": queries.one(parameters.queue_name, "dead letters of this queue"),
    "code": queries.many(queries.choice(ErrorCode), "whose error has one of these codes"),
    "text": queries.one(Value(_text, {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH}), "whose error message contains this text, in any case"),
    "older_than": queries.one(queries.number(0, AGE_LIMIT), "that died more than this many seconds ago"),
    "newer_than": queries.one(queries.number(0, AGE_LIMIT), "that died less than this many seconds ago"),
    "fingerprint": queries.one(Value(_fingerprint, {"type": "string", "pattern": FINGERPRINT}), "of this group"),
}
DEAD_LETTERS: Final[Mapping[str, Parameter]] = {
    **FILTERS,
    "limit": queries.LIMIT,
    "cursor": queries.one(Value(_cursor, {"type": "string"}), "the `next_cursor` of the previous page"),
}
GROUPS: Final[Mapping[str, Parameter]] = {**FILTERS, "limit": queries.LIMIT}
REDRIVES: Final[Mapping[str, Parameter]] = {"limit": queries.LIMIT, "cursor": queries.CURSOR}
