"""What a handler is given beside its payload, and what it may raise to say more than "it failed"."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog

from waggle.task import Claimed, Task


class Snooze(Exception):
    """Not now: run again after `delay` seconds. Costs no try."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay} s")
        self.delay = max(0.0, delay)


class Reject(Exception):
    """This task can never succeed: no retry, straight to the dead letter queue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Exception):
    """This try failed; run again after `after` seconds, or after the usual backoff when it is None. Costs a try."""

    def __init__(self, after: float | None = None, reason: str = "the handler asked for a retry") -> None:
        super().__init__(reason)
        self.after = None if after is None else max(0.0, after)
        self.reason = reason


class Context:
    """One try of a task, as its handler sees it."""

    __slots__ = ("_claimed", "_is_cancelled", "_log")

    def __init__(self, claimed: Claimed, is_cancelled: Callable[[], bool]) -> None:
        self._claimed = claimed
        self._is_cancelled = is_cancelled
        self._log: Any = None

    @property
    def task(self) -> Task:
        """The task as it stood when this try began."""
        return self._claimed.as_task()

    @property
    def attempt(self) -> int:
        """The number of this attempt; it always rises, and names this run of the task."""
        return self._claimed.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the task: hand it to services that must do a thing once."""
        return str(self._claimed.id)

    @property
    def deadline(self) -> datetime | None:
        """When the task fails whatever it does, by the database's clock."""
        return self._claimed.deadline

    @property
    def metadata(self) -> dict[str, Any]:
        """What the submitter attached to the task."""
        found: dict[str, Any] = msgspec.json.decode(self._claimed.metadata)
        return found

    @property
    def cancelled(self) -> bool:
        """True once nobody waits for the result any more: cancelled, timed out, or the lease was lost. Threads look here; async handlers are cancelled."""
        return self._is_cancelled()

    @property
    def log(self) -> Any:
        """A structlog logger whose lines carry the task's id, type and attempt."""
        if self._log is None:
            self._log = structlog.get_logger().bind(task_id=str(self._claimed.id), task_type=self._claimed.type, attempt=self._claimed.attempt)
        return self._log
