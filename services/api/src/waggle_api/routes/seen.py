"""Tasks as the caller of a request sees them."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from waggle.task import Task
from waggle_api.edge import shown
from waggle_api.resources import Call

T = TypeVar("T", bound=Task)


def one(call: Call, task: T) -> T:
    found = shown.shown(call.caller, task, call.resources.intake.admission.secrets)
    pattern = call.resources.trace_url
    if not pattern or task.trace_id is None:
        return found
    return msgspec.structs.replace(found, trace_url=pattern.replace("{trace_id}", task.trace_id))


def each(call: Call, tasks: Iterable[T]) -> list[T]:
    return shown.all_shown(call.caller, tasks, call.resources.intake.admission.secrets)
