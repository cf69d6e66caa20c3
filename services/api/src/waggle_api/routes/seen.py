"""Tasks as the caller of a request sees them."""

from collections.abc import Iterable
from typing import TypeVar

from waggle.task import Task
from waggle_api.edge import shown
from waggle_api.resources import Call

T = TypeVar("T", bound=Task)


def one(call: Call, task: T) -> T:
    return shown.shown(call.caller, task, call.resources.intake.admission.secrets)


def each(call: Call, tasks: Iterable[T]) -> list[T]:
    return shown.all_shown(call.caller, tasks, call.resources.intake.admission.secrets)
