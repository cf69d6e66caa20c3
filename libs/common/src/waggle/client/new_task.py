"""A task as a program submits it: its type, its payload, and what it asks for besides."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Final, Generic, TypedDict, TypeVar, Unpack

import msgspec

from waggle import models
from waggle.submission import BATCH_LIMIT
from waggle.task import Priority

R = TypeVar("R")

BATCH_BYTES: Final = (16 << 20) - 1024

_encoder: Final = msgspec.json.Encoder(enc_hook=models.revealed, decimal_format="number")


class TaskOptions(TypedDict, total=False):
    """What a task may ask for; whatever is left out is as its type has it (docs/api.md has the limits).

    `delay` is in seconds, or a timedelta; `timeout` is in seconds; `run_at` and `deadline` have a time zone. With `unique_key` only one unfinished task
    of the type has it. With `idempotency_key` a second submission brings the task of the first one; without, each call has one of its own, so that what
    the client repeats by itself makes one task.
    """

    queue: str
    priority: Priority | str
    max_retries: int
    timeout: float
    delay: float | timedelta
    run_at: datetime
    deadline: datetime
    unique_key: str
    description: str
    metadata: Mapping[str, Any]
    callback_url: str
    idempotency_key: str


class PreparedTask(Generic[R]):
    """A task that is not submitted yet: each submission makes one, unless it has an idempotency key (`key`).

    `text` is the JSON that creates it, `returns` the type of its result.
    """

    __slots__ = ("key", "returns", "text", "type")

    def __init__(self, type: str, payload: Any, options: TaskOptions, returns: Any = Any) -> None:
        """Raises ValueError for a time without a zone, TypeError for what JSON cannot hold."""
        self.type, self.returns = type, returns
        self.key = options.get("idempotency_key")
        self.text = _encoder.encode({"type": type, "payload": payload, **_fields(options)} if options else {"type": type, "payload": payload})


class TaskBatch(Generic[R]):
    """Tasks that are created together, all or none: the JSON that does so, and the key that makes it happen once."""

    def __init__(self, tasks: list[PreparedTask[R]]) -> None:
        self.tasks = tasks
        self.key = token_hex(16)
        self.text = b'{"tasks":[' + b",".join(task.text for task in tasks) + b"]}"

    @property
    def json_list(self) -> str:
        """The tasks alone."""
        return self.text[len(b'{"tasks":') : -1].decode()


def batches(tasks: Iterable[PreparedTask[R]]) -> Iterator[TaskBatch[R]]:
    """Tasks in batches as large as the API takes them. Raises ValueError for one with an idempotency key: a batch has one key for all."""
    found: list[PreparedTask[R]] = []
    size = 0
    for task in tasks:
        if task.key is not None:
            raise ValueError(f"a task with an idempotency key ({task.type}, {task.key!r}) is submitted alone")
        if found and (len(found) == BATCH_LIMIT or size + len(task.text) + 1 > BATCH_BYTES):
            yield TaskBatch(found)
            found, size = [], 0
        found.append(task)
        size += len(task.text) + 1
    if found:
        yield TaskBatch(found)


def new_task(type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]) -> PreparedTask[Any]:
    """A task of a type whose code is elsewhere."""
    return PreparedTask(type, payload or {}, options)


def _fields(options: TaskOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in options.items() if name != "idempotency_key" and value is not None}
    for name in ("run_at", "deadline"):
        if (moment := fields.get(name)) is not None and moment.tzinfo is None:
            raise ValueError(f"{name} {moment} needs a time zone, such as datetime.now(UTC)")
    if isinstance(delay := fields.get("delay"), timedelta):
        fields["delay"] = delay.total_seconds()
    return fields
