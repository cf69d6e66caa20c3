"""What a caller sees of a task: nothing of one outside their queues and types; without `payloads:read` no payload, result or words of an error."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from waggle import secret_fields
from waggle.errors import ShownError
from waggle.task import Task
from waggle_api.caller import Caller
from waggle_api.control.cancelling import NO_TASK
from waggle_api.refusals import NotFound

T = TypeVar("T", bound=Task)
Secrets = Callable[[str], Mapping[str, Any] | None]
"""The schema of a type that has secret fields (waggle.secret_fields), else None."""

HIDDEN_MESSAGE: Final = "(needs payloads:read)"
PAYLOADS: Final = ("payload", "original_payload")
VALUES: Final = ("payload", "original_payload", "result", "callback_url")


def existing(caller: Caller, task: T | None) -> T:
    """The task, if it exists for this caller. Raises NotFound: in the same words whether it does not exist at all, or not for them."""
    if task is None or not caller.sees(task):
        raise NotFound(NO_TASK)
    return task


def shown(caller: Caller, task: T, secrets: Secrets) -> T:
    """The task as this caller sees it; what was there and is left out is listed in `hidden`. Values that are secret by their type are masked for everybody."""
    if caller.sees_payloads:
        schema = secrets(task.type)
        return task if schema is None else _masked(task, schema)
    hidden = [name for name in VALUES if getattr(task, name, None) is not None]
    changes = dict.fromkeys(hidden)
    if task.error is not None:
        return msgspec.structs.replace(task, **changes, error=shown_error(caller, task.error), hidden=[*hidden, "error.message", "error.details"])
    return msgspec.structs.replace(task, **changes, hidden=hidden) if hidden else task


def all_shown(caller: Caller, tasks: Iterable[T], secrets: Secrets) -> list[T]:
    return [shown(caller, task, secrets) for task in tasks]


def _masked(task: T, schema: Mapping[str, Any]) -> T:
    payloads = {name: value for name in PAYLOADS if (value := getattr(task, name, None)) is not None}
    try:
        changes = {name: msgspec.Raw(secret_fields.masked_text(bytes(value), schema)) for name, value in payloads.items()}
    except (msgspec.DecodeError, RecursionError):  # only SQL inserts what is nested so deeply
        return msgspec.structs.replace(task, **dict.fromkeys(payloads), hidden=sorted(payloads))
    return msgspec.structs.replace(task, **changes) if changes else task


def shown_error(caller: Caller, error: ShownError) -> ShownError:
    """An error as this caller sees it: handlers put values of payloads into their messages."""
    return error if caller.sees_payloads else msgspec.structs.replace(error, message=HIDDEN_MESSAGE, details=None)
