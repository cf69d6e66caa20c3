"""What a request to create tasks may hold, and its decoding: fast when all is well, else field by field, so that every error is told at once.

`null` in an optional field means that it is not given. Payload and metadata stay as they were sent.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from waggle import nesting
from waggle.field_errors import Findings, plain
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Object, Priority

BATCH_MOST: Final = 1_000
DESCRIPTION_LIMIT: Final = 4_096
METADATA_LIMIT: Final = 64 << 10
MAX_RETRIES_LIMIT: Final = 1_000
TIMEOUT_LIMIT: Final = 7 * 86_400
DELAY_LIMIT: Final = 365 * 86_400
UNIQUE_KEY_LIMIT: Final = 256

NOTHING: Final = Raw(b"{}")
# Names are taken in any case; the document shows the two that people write.
NAMES: Final = [name for priority in Priority for name in (priority.name, priority.name.lower())]

Moment = Annotated[datetime, Meta(tz=True)]
PriorityOrName = Annotated[int, Meta(ge=0, le=3)] | Annotated[str, Meta(extra_json_schema={"enum": NAMES})]


class CreateTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task to create. `type` and `queue` are checked against the catalogue; `timeout` and `delay` are in seconds."""

    type: Annotated[str, Meta(extra_json_schema={"pattern": TYPE_PATTERN, "maxLength": TYPE_LENGTH})]
    payload: Object = msgspec.field(default_factory=lambda: NOTHING)  # a plain default would have to be in the document, which cannot hold a Raw
    priority: PriorityOrName | None = None
    description: Annotated[str, Meta(max_length=DESCRIPTION_LIMIT)] | None = None
    metadata: Object = msgspec.field(default_factory=lambda: NOTHING)
    queue: Annotated[str, Meta(extra_json_schema={"pattern": QUEUE_PATTERN, "maxLength": QUEUE_LENGTH})] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES_LIMIT)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=TIMEOUT_LIMIT)] | None = None
    deadline: Moment | None = None
    run_at: Moment | None = None
    delay: Annotated[float, Meta(ge=0, le=DELAY_LIMIT)] | None = None
    unique_key: Annotated[str, Meta(min_length=1, max_length=UNIQUE_KEY_LIMIT)] | None = None


Tasks = Annotated[list[CreateTask], Meta(min_length=1, max_length=BATCH_MOST)]


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to create, all or none; a bare list of them is taken too."""

    tasks: Tasks


class _RawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tasks: list[Raw]


_one: Final = msgspec.json.Decoder(CreateTask)
_many: Final = msgspec.json.Decoder(Batch | Tasks)
_raw_many: Final = msgspec.json.Decoder(_RawBatch | list[Raw])
_raw_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_fields: Final = {field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(CreateTask)}


def read_one(body: bytes, findings: Findings) -> CreateTask:
    """The task of a body; what is wrong goes to `findings`, and its field is left out. Raises one of UNREADABLE."""
    try:
        return _one.decode(body)
    except msgspec.ValidationError:
        return _field_by_field(body, findings)


def read_many(body: bytes, findings: Findings) -> list[CreateTask]:
    """As `read_one`, for a batch."""
    try:
        batch = _many.decode(body)
        return batch.tasks if isinstance(batch, Batch) else batch
    except msgspec.ValidationError:
        return _one_by_one(body, findings)


def _one_by_one(body: bytes, findings: Findings) -> list[CreateTask]:
    try:
        batch = _raw_many.decode(body)
    except msgspec.ValidationError as error:
        nesting.check(body)
        msgspec.json.decode(body)  # it may not even be JSON behind the place of the first error
        findings.add("tasks", f'send {{"tasks": [...]}}, or a list of tasks: {plain(error)}')
        return []
    raw = batch.tasks if isinstance(batch, _RawBatch) else batch
    if not 1 <= len(raw) <= BATCH_MOST:
        findings.add("tasks", f"must hold 1 to {BATCH_MOST} tasks, not {len(raw)}")
        return []
    tasks = []
    for index, text in enumerate(raw):
        findings.prefix = f"tasks[{index}]."
        tasks.append(_field_by_field(text, findings))
    findings.prefix = ""
    return tasks


def _field_by_field(text: bytes | Raw, findings: Findings) -> CreateTask:
    try:
        fields = _raw_fields.decode(text)
    except msgspec.ValidationError as error:
        nesting.check(text)
        msgspec.json.decode(text)
        findings.add("type", f"is required, in an object with the task's fields: {plain(error)}")
        return CreateTask("")
    good = {}
    for name, raw in fields.items():
        nesting.check(raw)
        decoder = _fields.get(name)
        if decoder is None:
            findings.add(name, "is not a field of a task" + findings.propose(name, _fields))
            continue
        try:
            good[name] = decoder.decode(raw)
        except msgspec.ValidationError as error:
            findings.add(name, plain(error))
    if "type" not in fields:
        findings.add("type", "is required")
    return CreateTask(**{"type": "", **good})


def priority_of(value: int | str | None) -> Priority:
    """A priority by its number or its name in any case. Raises ValueError."""
    if value is None:
        return Priority.MEDIUM
    if isinstance(value, int):
        return Priority(value)
    try:
        return Priority[value.upper()]
    except KeyError:
        raise ValueError(f"must be 0 to 3 or one of {', '.join(priority.name for priority in Priority)}") from None
