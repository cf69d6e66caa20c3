"""What a caller sees of a task: nothing of one outside their queues and types; without `payloads:read` no payload, result or words of an error."""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from waggle.errors import ShownError
from waggle.task import Task
from waggle_api.caller import Caller
from waggle_api.control.cancelling import NO_TASK
from waggle_api.refusals import NotFound

T = TypeVar("T", bound=Task)

HIDDEN_MESSAGE: Final = "(needs payloads:read)"
VALUES: Final = ("payload", "original_payload", "result")


def existing(caller: Caller, task: T | None) -> T:
    """The task, if it exists for this caller. Raises NotFound: in the same words whether it does not exist at all, or not for them."""
    if task is None or not caller.sees(task):
        raise NotFound(NO_TASK)
    return task


def shown(caller: Caller, task: T) -> T:
    """The task as this caller sees it; what was there and is left out is listed in `hidden`."""
    if caller.sees_payloads:
        return task
    hidden = [name for name in VALUES if getattr(task, name, None) is not None]
    changes = dict.fromkeys(hidden)
    if task.error is not None:
        return msgspec.structs.replace(task, **changes, error=shown_error(caller, task.error), hidden=[*hidden, "error.message", "error.details"])
    return msgspec.structs.replace(task, **changes, hidden=hidden) if hidden else task


def all_shown(caller: Caller, tasks: Iterable[T]) -> list[T]:
    return [shown(caller, task) for task in tasks]


def shown_error(caller: Caller, error: ShownError) -> ShownError:
    """An error as this caller sees it: handlers put values of payloads into their messages."""
    return error if caller.sees_payloads else msgspec.structs.replace(error, message=HIDDEN_MESSAGE, details=None)
