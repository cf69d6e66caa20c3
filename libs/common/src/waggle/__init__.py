"""Waggle: a durable task platform. This is what an application imports."""

from waggle.app import App
from waggle.context import Context, Reject, Retry, Snooze
from waggle.task import Priority, Status

__all__ = ["App", "Context", "Priority", "Reject", "Retry", "Snooze", "Status"]
