"""The contract of a submission: the fields of a task to create, their limits, and every check that needs no catalogue.

`null` in an optional field means that the field is not given. Payload and metadata stay as they were sent.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw

from waggle import nesting
from waggle.field_errors import NUL, UNREADABLE, FieldErrors, Unreadable, holds_nul, plain
from waggle.task import PAYLOAD_LIMIT, QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Object, Priority

BATCH_LIMIT: Final = 1_000  # tasks
DESCRIPTION_LENGTH: Final = 4_096
METADATA_LIMIT: Final = 64 << 10  # bytes
MAX_RETRIES_LIMIT: Final = 1_000
TIMEOUT_LIMIT: Final = 7 * 86_400  # seconds
DELAY_LIMIT: Final = 365 * 86_400  # seconds
UNIQUE_KEY_LENGTH: Final = 256
URL_LENGTH: Final = 2_048
URL_PATTERN: Final = r"^[hH][tT][tT][pP][sS]?://[^\s/?#@]+([/?#]\S*)?$"

EMPTY: Final = Raw(b"{}")
# Accepted in any case. Generators of clients fail on an enumeration that holds `LOW` and `low`.
PRIORITY_NAMES: Final = [priority.name.lower() for priority in Priority]

Moment = Annotated[datetime, Meta(tz=True)]
PriorityOrName = Annotated[int, Meta(ge=0, le=3)] | Annotated[str, Meta(extra_json_schema={"enum": PRIORITY_NAMES})]


class CreateTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task to create. `type` and `queue` are checked against the catalogue; `timeout` and `delay` are in seconds.

    `callback_url`: where the end of the task is reported, as a message of Standard Webhooks.
    """

    type: Annotated[str, Meta(extra_json_schema={"pattern": TYPE_PATTERN, "maxLength": TYPE_LENGTH})]
    payload: Object = msgspec.field(default_factory=lambda: EMPTY)  # a plain default would appear in the JSON Schema, which cannot hold a Raw
    priority: PriorityOrName | None = None
    description: Annotated[str, Meta(max_length=DESCRIPTION_LENGTH)] | None = None
    metadata: Object = msgspec.field(default_factory=lambda: EMPTY)
    queue: Annotated[str, Meta(extra_json_schema={"pattern": QUEUE_PATTERN, "maxLength": QUEUE_LENGTH})] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES_LIMIT)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=TIMEOUT_LIMIT)] | None = None
    deadline: Moment | None = None
    run_at: Moment | None = None
    delay: Annotated[float, Meta(ge=0, le=DELAY_LIMIT)] | None = None
    unique_key: Annotated[str, Meta(min_length=1, max_length=UNIQUE_KEY_LENGTH)] | None = None
    callback_url: Annotated[str, Meta(max_length=URL_LENGTH, extra_json_schema={"pattern": URL_PATTERN, "minLength": 1})] | None = None


Tasks = Annotated[list[CreateTask], Meta(min_length=1, max_length=BATCH_LIMIT)]


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to create, all or none. A bare list of them is accepted too."""

    tasks: Tasks


class Submission(NamedTuple):
    """Tasks to create together or not at all, decoded from `text`. `errors` holds what decoding found wrong; those fields are left out of `tasks`."""

    tasks: list[CreateTask]
    text: bytes
    is_batch: bool
    errors: FieldErrors | None = None

    def field_errors(self) -> FieldErrors:
        """A fresh collection that starts with the errors of decoding."""
        return FieldErrors() if self.errors is None else FieldErrors(self.errors.errors)


class _RawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tasks: list[Raw]


_task: Final = msgspec.json.Decoder(CreateTask)
_batch: Final = msgspec.json.Decoder(Batch | Tasks)
_raw_batch: Final = msgspec.json.Decoder(_RawBatch | list[Raw])
_raw_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_fields: Final = {field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(CreateTask)}
_decode: Final = msgspec.json.Decoder().decode
_type_name: Final = re.compile(TYPE_PATTERN)
_url: Final = re.compile(URL_PATTERN)
_exponent: Final = re.compile(rb"[0-9][eE][+-]?[0-9]")


def read_task(text: bytes) -> Submission:
    """Decode one task. Raises Unreadable; wrong fields go into the submission's `errors`."""
    return _read(text, _decode_task, _task_by_field, is_batch=False)


def read_batch(text: bytes) -> Submission:
    """Decode a batch, as `read_task` does."""
    return _read(text, _decode_batch, _batch_by_field, is_batch=True)


def check(submission: Submission) -> FieldErrors:
    """Every error that can be found without a catalogue and a clock. Raises Unreadable."""
    errors = submission.field_errors()
    for index, task in enumerate(submission.tasks):
        errors.prefix = f"tasks[{index}]." if submission.is_batch else ""
        if task.type or not errors.has("type"):  # a missing one is "", too
            check_type_name(task.type, errors)
        read_object(task.payload, "payload", PAYLOAD_LIMIT, errors)
        read_metadata(task.metadata, errors)
        read_priority(task.priority, errors)
        read_times(task, errors)
        check_url(task.callback_url, errors)
        check_nul(task, errors)
    return errors


def check_type_name(name: str, errors: FieldErrors) -> bool:
    """Whether a text can be the name of a task type."""
    if _type_name.fullmatch(name) and len(name) <= TYPE_LENGTH:
        return True
    errors.add("type", f"must have at most {TYPE_LENGTH} characters and match {TYPE_PATTERN}")
    return False


def read_object(raw: Raw, field: str, limit: int, errors: FieldErrors) -> tuple[str, dict[str, Any] | None]:
    """A JSON object as its text and its value. The value is None, and an error added, if it is not an object or too large. Raises Unreadable."""
    try:
        nesting.check(raw)
        value = _decode(raw)
        if value is None:
            return "{}", {}
        if not isinstance(value, dict):
            errors.add(field, "must be an object")
            return "{}", None
        if len(raw) > limit:
            errors.add(field, f"has {len(raw)} bytes of JSON, {limit} are allowed")
            return "{}", None
        return str(raw, "utf-8"), value
    except UNREADABLE as error:
        raise Unreadable(error) from error


def read_metadata(raw: Raw, errors: FieldErrors) -> str:
    """Metadata as JSON text. They are stored as jsonb, which writes numbers without exponents: `1e-16000` becomes 16,000 bytes in every list and claim."""
    if raw is EMPTY:
        return "{}"
    text, value = read_object(raw, "metadata", METADATA_LIMIT, errors)
    if value is not None and _exponent.search(raw) and _stored_size(raw) > METADATA_LIMIT:
        errors.add("metadata", f"has more than {METADATA_LIMIT} bytes of JSON once its numbers are written without exponents")
        return "{}"
    return text


def _stored_size(raw: Raw) -> float:
    """About how many bytes a JSON text has once its numbers are written without exponents."""
    size = float(len(raw))

    def count(number: str) -> float:
        nonlocal size
        size += abs(float(number.lower().partition("e")[2] or 0))
        return 0.0

    msgspec.json.Decoder(float_hook=count).decode(raw)
    return size


def read_priority(value: int | str | None, errors: FieldErrors) -> int:
    if value is None:
        return Priority.MEDIUM
    try:
        return parse_priority(value)
    except ValueError as error:
        errors.add("priority", str(error))
        return Priority.MEDIUM


def parse_priority(value: int | str) -> Priority:
    """A priority by its number, or by its name in any case. Raises ValueError."""
    if isinstance(value, int):
        return Priority(value)
    try:
        return Priority[value.upper()]
    except KeyError:
        raise ValueError(f"must be 0 to 3 or one of {', '.join(priority.name for priority in Priority)}") from None


def read_times(task: CreateTask, errors: FieldErrors) -> tuple[datetime | None, datetime | None]:
    """`run_at` and `deadline` in UTC."""
    run_at, deadline = _utc(task.run_at, "run_at", errors), _utc(task.deadline, "deadline", errors)
    if run_at is not None and task.delay is not None:
        errors.add("delay", "give run_at or delay, not both")
    return run_at, deadline


def _utc(moment: datetime | None, field: str, errors: FieldErrors) -> datetime | None:
    """The edges of the calendar are refused: asyncpg stores its first and last instant as infinities, and readers add their time zone.

    See findings/asyncpg-the-last-instant-becomes-infinity.sh.
    """
    if moment is not None and not 1 < moment.year < 9999:
        errors.add(field, "is outside the years 2 to 9998")
        return None
    return None if moment is None else moment.astimezone(UTC)


def check_url(url: str | None, errors: FieldErrors) -> None:
    if url is not None and not _url.fullmatch(url):
        errors.add("callback_url", "must be an http or https address, without user and password")


def may_hold_nul(text: bytes) -> bool:
    """A quick test of a whole text. U+0000 can only be written as this escape; a single byte is found fifty times faster."""
    return b"\\" in text and b"\\u0000" in text


def check_nul(task: CreateTask, errors: FieldErrors) -> None:
    """Search the JSON text, not the value: a walk through a large payload would block all other requests."""
    for field in ("description", "unique_key"):
        if "\x00" in (getattr(task, field) or ""):
            errors.add(field, NUL)
    for field in ("payload", "metadata"):
        if holds_nul(getattr(task, field)):
            errors.add(field, NUL)


def _read(
    text: bytes, decode: Callable[[bytes], list[CreateTask]], by_field: Callable[[bytes, FieldErrors], list[CreateTask]], *, is_batch: bool
) -> Submission:
    """Decode at once if everything fits; otherwise field by field, so that every error is found."""
    try:
        try:
            return Submission(decode(text), text, is_batch)
        except msgspec.ValidationError:
            errors = FieldErrors()
            return Submission(by_field(text, errors), text, is_batch, errors)
    except UNREADABLE as error:
        raise Unreadable(error) from error


def _decode_task(text: bytes) -> list[CreateTask]:
    return [_task.decode(text)]


def _decode_batch(text: bytes) -> list[CreateTask]:
    batch = _batch.decode(text)
    return batch.tasks if isinstance(batch, Batch) else batch


def _batch_by_field(text: bytes, errors: FieldErrors) -> list[CreateTask]:
    try:
        batch = _raw_batch.decode(text)
    except msgspec.ValidationError as error:
        nesting.check(text)
        _decode(text)  # after the first error it may not even be JSON
        errors.add("tasks", f'send {{"tasks": [...]}}, or a list of tasks: {plain(error)}')
        return []
    raw = batch.tasks if isinstance(batch, _RawBatch) else batch
    if not 1 <= len(raw) <= BATCH_LIMIT:
        errors.add("tasks", f"must hold 1 to {BATCH_LIMIT} tasks, not {len(raw)}")
        return []
    tasks = []
    for index, one in enumerate(raw):
        errors.prefix = f"tasks[{index}]."
        tasks += _task_by_field(one, errors)
    errors.prefix = ""
    return tasks


def _task_by_field(text: bytes | Raw, errors: FieldErrors) -> list[CreateTask]:
    try:
        fields = _raw_fields.decode(text)
    except msgspec.ValidationError as error:
        nesting.check(text)
        _decode(text)
        errors.add("type", f"is required, in an object with the task's fields: {plain(error)}")
        return [CreateTask("")]
    good = {}
    for name, raw in fields.items():
        nesting.check(raw)
        decoder = _fields.get(name)
        if decoder is None:
            errors.add(name, "is not a field of a task" + errors.propose(name, _fields))
            continue
        try:
            good[name] = decoder.decode(raw)
        except msgspec.ValidationError as error:
            errors.add(name, plain(error))
    if "type" not in fields:
        errors.add("type", "is required")
    return [CreateTask(**{"type": "", **good})]
