"""What may be asked about dead letters: query strings, bodies, and the cursor of their list."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from waggle import nesting
from waggle.errors import ErrorCode
from waggle.field_errors import UNREADABLE, Findings, plain
from waggle.redrive import LIMIT_MOST, RATE_LEAST, RATE_MOST, DeadLetterFilter
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Object
from waggle_api.http import queries
from waggle_api.http.queries import Parameter, Value
from waggle_api.refusals import Malformed
from waggle_api.routes import parameters

AGE_MOST: Final = 100 * 365 * 86_400.0  # seconds
TEXT_MOST: Final = 200
IDS_MOST: Final = 1_000
FINGERPRINT: Final = r"^[0-9a-f]{16}$"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

# Checked by hand: msgspec 0.22.0 reads beyond its memory where a union holds a text with a pattern and a list.
TypeName = Annotated[str, Meta(extra_json_schema={"pattern": TYPE_PATTERN, "maxLength": TYPE_LENGTH})]
Age = Annotated[float, Meta(ge=0, le=AGE_MOST)]


class RetryDeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a dead letter is retried: with another payload, which must fit its type's schema, or with the one that it has."""

    payload: Object | None = None


class CleanUpDeadLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is cleaned up: what died more than `older_than` seconds ago; without it, what is over the settings' period and size."""

    older_than: Age | None = None


class RetryDeadLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters are retried: at least one filter, or `all`. Ages are in seconds, `rate` is in tasks a second, `limit` is how many at most.

    With `dry_run` they are only counted.
    """

    type: TypeName | Annotated[list[TypeName], Meta(min_length=1, max_length=queries.MANY)] | None = None
    queue: Annotated[str, Meta(pattern=QUEUE_PATTERN, max_length=QUEUE_LENGTH)] | None = None
    code: ErrorCode | Annotated[list[ErrorCode], Meta(min_length=1)] | None = None
    text: Annotated[str, Meta(min_length=1, max_length=TEXT_MOST)] | None = None
    older_than: Age | None = None
    newer_than: Age | None = None
    fingerprint: Annotated[str, Meta(pattern=FINGERPRINT)] | None = None
    ids: Annotated[list[UUID], Meta(min_length=1, max_length=IDS_MOST)] | None = None
    all: bool | None = None
    dry_run: bool | None = None
    rate: Annotated[float, Meta(ge=RATE_LEAST, le=RATE_MOST)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MOST)] | None = None


class Matched(msgspec.Struct, frozen=True):
    """How many dead letters would be retried."""

    matched: int
    dry_run: bool = True


def filter_of(wanted: RetryDeadLetters) -> DeadLetterFilter:
    """The filter of a bulk retry. Raises Invalid when there is none, or one that cannot match."""
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
    findings = Findings()
    if found == DeadLetterFilter() and not wanted.all:
        findings.add("all", 'give at least one filter, or "all": true')
    names: list[tuple[str, Callable[[str], object], str]] = [("type", parameters.type_name, name) for name in found.type or []]
    names += [("queue", parameters.queue_name, found.queue)] if found.queue else []
    names += [("fingerprint", _fingerprint, found.fingerprint)] if found.fingerprint else []
    for field, check, name in names:  # msgspec lets a line's end pass behind a pattern
        try:
            check(name)
        except ValueError as error:
            findings.add(field, str(error))
    if "\x00" in (wanted.text or ""):
        findings.add("text", "the character U+0000 cannot be stored")
    findings.check()
    return found


def edited_payload(body: bytes) -> msgspec.Raw | None:
    """The payload of a retry's body, as it was sent; None when there is none. Raises Malformed or Invalid."""
    if not body:
        return None
    findings = Findings()
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        for name, value in fields.items():
            nesting.check(value)
            if name != "payload":
                findings.add(name, "is not a field of this body" + findings.propose(name, ["payload"]))
        raw = fields.get("payload")
        if raw is not None and msgspec.json.decode(raw) is None:
            raw = None
    except msgspec.ValidationError as error:
        raise Malformed(f"send an object, or no body: {plain(error)}") from error
    except UNREADABLE as error:
        raise Malformed(f"the body is not JSON that can be kept: {error}") from error
    findings.check()
    return None if raw is None else raw.copy()


def filter_and_rest(given: dict[str, Any]) -> tuple[DeadLetterFilter, dict[str, Any]]:
    """The filter of a query string, and its other parameters."""
    rest: dict[str, Any] = {name: given.pop(name) for name in ("limit", "cursor") if name in given}
    return DeadLetterFilter(**given), rest


def write_cursor(updated: datetime, last: UUID) -> str:
    """A place in the list: when the last task of a page died, and its id."""
    return base64.urlsafe_b64encode(((updated - EPOCH) // MICROSECOND).to_bytes(8, "big") + last.bytes).decode()


def _cursor(text: str) -> tuple[datetime, UUID]:
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True) if len(text) == 32 else b""
        return EPOCH + int.from_bytes(raw[:8], "big") * MICROSECOND, UUID(bytes=raw[8:])
    except (binascii.Error, ValueError, OverflowError):
        raise ValueError("is not a cursor: pass the next_cursor of the page before") from None


def _text(text: str) -> str:
    if not 1 <= len(text) <= TEXT_MOST or "\x00" in text:
        raise ValueError(f"must have 1 to {TEXT_MOST} characters, without U+0000")
    return text


def _fingerprint(text: str) -> str:
    if not re.fullmatch(FINGERPRINT, text):
        raise ValueError("must be a fingerprint: the 16 hexadecimal digits that a group has")
    return text


FILTERS: Final[Mapping[str, Parameter]] = {
    "type": queries.many(parameters.type_name, "dead letters of one of these types"),
    "queue": queries.one(parameters.queue_name, "dead letters of this queue"),
    "code": queries.many(queries.choice(ErrorCode), "whose error has one of these codes"),
    "text": queries.one(Value(_text, {"type": "string", "minLength": 1, "maxLength": TEXT_MOST}), "whose error's message contains this, in any case"),
    "older_than": queries.one(queries.number(0, AGE_MOST), "that died more than so many seconds ago"),
    "newer_than": queries.one(queries.number(0, AGE_MOST), "that died less than so many seconds ago"),
    "fingerprint": queries.one(Value(_fingerprint, {"type": "string", "pattern": FINGERPRINT}), "of this group"),
}
DEAD_LETTERS: Final[Mapping[str, Parameter]] = {
    **FILTERS,
    "limit": queries.LIMIT,
    "cursor": queries.one(Value(_cursor, {"type": "string"}), "the `next_cursor` of the page before"),
}
GROUPS: Final[Mapping[str, Parameter]] = {**FILTERS, "limit": queries.LIMIT}
REDRIVES: Final[Mapping[str, Parameter]] = {"limit": queries.LIMIT, "cursor": queries.CURSOR}
