"""Waggle: a durable task platform. This is what an application imports."""

from typing import TYPE_CHECKING, Any

from waggle.app import App, injected
from waggle.context import BreakerOpen, Context, Reject, Retry, Snooze
from waggle.errors import TaskError
from waggle.retry import Backoff
from waggle.secret_fields import Secret
from waggle.submittable import omitted
from waggle.task import Priority, Status

if TYPE_CHECKING:
    from waggle.client.aio.client import Client, TaskHandle
    from waggle.client.errors import WaggleError
    from waggle.client.new_task import PreparedTask, new_task
    from waggle.client.sync.client import SyncClient, SyncTaskHandle

__all__ = [
    "App",
    "Backoff",
    "BreakerOpen",
    "Client",
    "Context",
    "PreparedTask",
    "Priority",
    "Reject",
    "Retry",
    "Secret",
    "Snooze",
    "Status",
    "SyncClient",
    "SyncTaskHandle",
    "TaskError",
    "TaskHandle",
    "WaggleError",
    "injected",
    "new_task",
    "omitted",
]

_CLIENT = {
    "Client": "aio.client",
    "TaskHandle": "aio.client",
    "SyncClient": "sync.client",
    "SyncTaskHandle": "sync.client",
    "PreparedTask": "new_task",
    "new_task": "new_task",
    "WaggleError": "errors",
}


def __getattr__(name: str) -> Any:
    """The client is imported when it is used: a worker that submits nothing does without."""
    if name not in _CLIENT:
        raise AttributeError(f"module 'waggle' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"waggle.client.{_CLIENT[name]}"), name)
