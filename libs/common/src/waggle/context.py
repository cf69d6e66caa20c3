"""What a handler receives besides its payload, and the exceptions with which it says more than "it failed"."""

import math
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec

from waggle.errors import ErrorCode
from waggle.retry import LONGEST_WAIT_SECONDS
from waggle.task import BREAKER_LENGTH, BREAKER_PATTERN, Claimed, Task

LONGEST_SNOOZE_SECONDS: Final = LONGEST_WAIT_SECONDS


def _wait(seconds: float) -> float:
    """Raises ValueError for what is no number."""
    if math.isnan(seconds):
        raise ValueError(f"a wait must be a number of seconds, not {seconds}")
    return min(max(0.0, seconds), LONGEST_SNOOZE_SECONDS)


class Snooze(Exception):
    """Run this task again after `delay` seconds. It costs no try. From the eleventh time on it lasts a second at least. Raises ValueError for NaN."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay} s")
        self.delay = _wait(delay)


class BreakerOpen(Snooze):
    """The circuit breaker `name` is open: the service is not called, and the task waits for its turn. It costs no try."""

    def __init__(self, name: str, delay: float, why: str) -> None:
        super().__init__(delay)
        self.name, self.why = name, why

    def __str__(self) -> str:
        return f"waiting for the circuit breaker {self.name}: {self.why}"


class Reject(Exception):
    """This task can never succeed: it goes to the dead letter queue without a retry. `code` and `details` become those of the task's error."""

    def __init__(self, reason: str, *, code: ErrorCode = ErrorCode.TASK_EXECUTION_FAILED, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.code, self.details = reason, code, details


class Retry(Exception):
    """This try failed: run again after `after` seconds, or after the backoff of its type when it is None. `code` and `details` as in `Reject`."""

    def __init__(
        self,
        after: float | None = None,
        reason: str = "the handler asked for a retry",
        *,
        code: ErrorCode = ErrorCode.TASK_EXECUTION_FAILED,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.after = None if after is None else _wait(after)
        self.reason, self.code, self.details = reason, code, details


class BreakerContext(Protocol):
    """A call through a circuit breaker: `async with` in an async handler, `with` in a plain one. Entering raises BreakerOpen while the breaker is open."""

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


BreakerFactory = Callable[[str, tuple[type[BaseException], ...]], BreakerContext]  # a breaker's name, and exceptions that do not count


class Lines(Protocol):
    """Keeps what a handler logs."""

    def add(self, event: dict[str, Any]) -> None: ...


Emit = Callable[[Any], Awaitable[None]]

KEPT_IN: Final = "_lines"
"""The field of a log line that names its `Lines`; it is not written."""


def checked_breaker(name: str) -> str:
    """The name of a breaker. Raises ValueError when it is invalid."""
    if not isinstance(name, str) or not re.fullmatch(BREAKER_PATTERN, name) or len(name) > BREAKER_LENGTH:
        raise ValueError(f"circuit breaker name {name!r} must match {BREAKER_PATTERN}, with at most {BREAKER_LENGTH} characters")
    return name


RUNNING: ContextVar["Context | None"] = ContextVar("running", default=None)
"""The attempt whose handler runs here: log lines name it, those of other libraries too."""


class Context:
    """One attempt of a task, as its handler sees it."""

    __slots__ = ("_breakers", "_claimed", "_emit", "_is_cancelled", "_log", "_open_log")

    def __init__(
        self,
        claimed: Claimed,
        is_cancelled: Callable[[], bool],
        breakers: BreakerFactory | None = None,
        open_log: Callable[[], Lines] | None = None,
        emit: Emit | None = None,
    ) -> None:
        self._claimed = claimed
        self._is_cancelled = is_cancelled
        self._breakers = breakers
        self._open_log = open_log
        self._emit = emit
        self._log: Any = None

    @property
    def task(self) -> Task:
        """The task as it was when this attempt began."""
        return self._claimed.as_task()

    @property
    def attempt(self) -> int:
        """The number of this attempt; it always rises."""
        return self._claimed.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the task; pass it to services that must do a thing only once."""
        return str(self._claimed.id)

    @property
    def deadline(self) -> datetime | None:
        """When the task fails whatever its handler does, by the database's clock; None without a deadline."""
        return self._claimed.deadline

    @property
    def metadata(self) -> dict[str, Any]:
        """What the submitter attached to the task."""
        found: dict[str, Any] = msgspec.json.decode(self._claimed.metadata)
        return found

    @property
    def cancelled(self) -> bool:
        """True when the result is no longer wanted: the task was cancelled or timed out, or the lease was lost. Threads should check it."""
        return self._is_cancelled()

    def breaker(self, name: str, ignore: tuple[type[BaseException], ...] = ()) -> BreakerContext:
        """The circuit breaker `name`, shared by the fleet: `async with ctx.breaker("smtp"):` around the call of a service, `with` in a plain handler.

        While it is open, the block is not entered and the task waits, without cost. An exception that leaves the block is a failure of the
        service, and so is the task's timeout inside it; `Snooze`, `Reject`, a cancellation and the exceptions in `ignore` do not count.
        Raises ValueError for an invalid name, RuntimeError in a `process=True` handler.
        """
        if self._breakers is None:
            raise RuntimeError(f"ctx.breaker({name!r}) does not work in a process=True handler: use @app.task(…, breaker={name!r})")
        return self._breakers(checked_breaker(name), ignore)

    def emit(self, value: Any) -> Awaitable[None]:
        """Tell whoever follows the task (`waggle tasks follow`) a JSON value: progress, a token, a part of the result. `await` it in an async handler.

        It is sent at most once; the last 20 values (16 KiB) are kept with the attempt. Raises TypeError for a value that is no JSON, ValueError for one over
        64 KiB of JSON, RuntimeError in a `process=True` handler and in a cleanup.
        """
        if self._emit is None:
            raise RuntimeError("ctx.emit does not work in a process=True handler, nor in a cleanup")
        return self._emit(value)

    @property
    def log(self) -> Any:
        """A structlog logger whose lines carry the task's id, type and attempt. The first of them are kept with the attempt: `waggle tasks logs`."""
        if self._log is None:
            from waggle.context_log import log

            kept = {} if self._open_log is None else {KEPT_IN: self._open_log()}
            self._log = log.bind(**self.fields, logger="ctx.log", **kept)
        return self._log

    @property
    def fields(self) -> dict[str, Any]:
        """What its log lines say of it."""
        return {"task_id": str(self._claimed.id), "task_type": self._claimed.type, "attempt": self._claimed.attempt}
