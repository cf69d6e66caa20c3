"""For unit tests of handlers: a context without a worker, a database or a broker.

A handler is called like the function that it was: `await send_email(context("email.send"), to="anna@example.org")`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final
from uuid import UUID

import msgspec

from waggle.context import BreakerOpen, Context
from waggle.task import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE, DEFAULT_TIMEOUT, Claimed, Priority

TASK_ID: Final = UUID("01900000-0000-7000-8000-000000000000")
OPEN_SECONDS: Final = 30.0


def context(
    task_type: str = "a.task",
    payload: Mapping[str, Any] | None = None,
    *,
    task_id: UUID = TASK_ID,
    attempt: int = 1,
    metadata: Mapping[str, Any] | None = None,
    deadline: datetime | None = None,
    cancelled: bool = False,
    open_breakers: Collection[str] = (),
) -> Context:
    """A context as a worker gives it. `ctx.breaker(name)` raises BreakerOpen for the names in `open_breakers`; every other breaker is closed."""
    now = datetime.now(UTC)
    claimed = Claimed(
        id=task_id,
        attempt=attempt,
        started_at=now,
        type=task_type,
        payload=msgspec.json.encode(payload or {}).decode(),
        timeout=DEFAULT_TIMEOUT,
        retry_count=attempt - 1,
        max_retries=max(DEFAULT_MAX_RETRIES, attempt - 1),
        lost_count=0,
        queue=DEFAULT_QUEUE,
        priority=Priority.MEDIUM,
        description="",
        metadata=msgspec.json.encode(metadata or {}).decode(),
        created=now,
        run_at=now,
        deadline=deadline,
        unique_key=None,
        traceparent=None,
        tracestate=None,
    )
    return Context(claimed, lambda: cancelled, lambda name, _: _Breaker(name, is_open=name in open_breakers))


class _Breaker:
    """A circuit breaker that nothing changes."""

    def __init__(self, name: str, *, is_open: bool) -> None:
        self._name, self._is_open = name, is_open

    def __enter__(self) -> None:
        if self._is_open:
            raise BreakerOpen(self._name, OPEN_SECONDS, "it is open")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing changes, whatever happened."""

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing changes, whatever happened."""
