"""What a handler is given beside its payload, and what it may raise to say more than "it failed"."""

import re
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
import structlog

from waggle.errors import ErrorCode
from waggle.task import BREAKER_LENGTH, BREAKER_PATTERN, Claimed, Task

LONGEST: Final = 1e9  # seconds, thirty years: a wait ends


class Snooze(Exception):
    """Not now: run again after `delay` seconds. Costs no try."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay} s")
        self.delay = min(max(0.0, delay), LONGEST)


class BreakerOpen(Snooze):
    """The breaker `name` is open: whom it protects is not called, and the task waits for its turn after that. Costs no try."""

    def __init__(self, name: str, delay: float, why: str) -> None:
        super().__init__(delay)
        self.name, self.why = name, why

    def __str__(self) -> str:
        return f"waits for the circuit breaker {self.name}: {self.why}"


class Reject(Exception):
    """This task can never succeed: no retry, straight to the dead letter queue. `code` and `details` become those of the task's error."""

    def __init__(self, reason: str, *, code: ErrorCode = ErrorCode.TASK_EXECUTION_FAILED, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.code, self.details = reason, code, details


class Retry(Exception):
    """This try failed; run again after `after` seconds, or after the usual backoff when it is None. Costs a try. `code` and `details` as in `Reject`."""

    def __init__(
        self,
        after: float | None = None,
        reason: str = "the handler asked for a retry",
        *,
        code: ErrorCode = ErrorCode.TASK_EXECUTION_FAILED,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.after = None if after is None else min(max(0.0, after), LONGEST)
        self.reason, self.code, self.details = reason, code, details


class Guard(Protocol):
    """One use of a circuit breaker: `async with` in an async handler, `with` in a plain one. Entering raises BreakerOpen while the breaker is open."""

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


Guards = Callable[[str, tuple[type[BaseException], ...]], Guard]  # a breaker's name, and exceptions that say nothing about the one whom it protects


def checked_breaker(name: str) -> str:
    """The name of a breaker. Raises ValueError when it cannot be one."""
    if not isinstance(name, str) or not re.fullmatch(BREAKER_PATTERN, name) or len(name) > BREAKER_LENGTH:
        raise ValueError(f"the circuit breaker's name {name!r} must match {BREAKER_PATTERN} and have at most {BREAKER_LENGTH} characters")
    return name


class Context:
    """One try of a task, as its handler sees it."""

    __slots__ = ("_claimed", "_guards", "_is_cancelled", "_log")

    def __init__(self, claimed: Claimed, is_cancelled: Callable[[], bool], guards: Guards | None = None) -> None:
        self._claimed = claimed
        self._is_cancelled = is_cancelled
        self._guards = guards
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

    def breaker(self, name: str, ignore: tuple[type[BaseException], ...] = ()) -> Guard:
        """The circuit breaker `name`, shared by the fleet: `async with ctx.breaker("smtp"):` around the call of a service, `with` in a plain handler.

        While it is open the block is not entered and the task waits, which costs no try. An exception that leaves the block is a failure of the
        service, and so is the task's timeout inside of it; `Snooze`, `Reject`, a cancellation and what is in `ignore` say nothing about it.
        Raises ValueError for a name that cannot be used, RuntimeError in a `process=True` handler.
        """
        if self._guards is None:
            raise RuntimeError(f"ctx.breaker({name!r}) is for async and plain handlers; one with process=True names it in @app.task(…, breaker={name!r})")
        return self._guards(checked_breaker(name), ignore)

    @property
    def log(self) -> Any:
        """A structlog logger whose lines carry the task's id, type and attempt."""
        if self._log is None:
            self._log = structlog.get_logger().bind(task_id=str(self._claimed.id), task_type=self._claimed.type, attempt=self._claimed.attempt)
        return self._log
