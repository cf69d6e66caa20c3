"""Waggle: a durable task platform. This is what an application imports."""

from waggle.app import App
from waggle.context import BreakerOpen, Context, Reject, Retry, Snooze
from waggle.errors import TaskError
from waggle.retry import Backoff
from waggle.secret_fields import Secret
from waggle.task import Priority, Status

__all__ = ["App", "Backoff", "BreakerOpen", "Context", "Priority", "Reject", "Retry", "Secret", "Snooze", "Status", "TaskError"]
