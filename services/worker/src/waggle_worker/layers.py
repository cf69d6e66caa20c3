"""Recovery and logging around every handler, wherever it runs.

Recovery: whatever a handler does becomes an outcome; no exception, SystemExit and KeyboardInterrupt included, ends the worker.
Logging: one line when a try starts (debug) and one when it ended (info; debug for a success, because there are many). The settler logs what follows
from a failure, once Postgres has it.
"""

import logging
import time
from collections.abc import Awaitable, Coroutine
from contextvars import Context as ContextVars
from contextvars import copy_context
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from waggle import forked
from waggle.app import Handler
from waggle.context import RUNNING, Context
from waggle.forked import guarded
from waggle.retry import Backoff, checked_wait
from waggle.task import AttemptOutcome, Claimed, Done, Failed, Outcome, Snoozed, not_here_delay
from waggle.telemetry import traces
from waggle_worker import outcomes

log = structlog.get_logger()

WORDS: Final[dict[type, str]] = {Done: "done", Failed: "failed", Snoozed: "snoozed"}


class Spent:
    """Seconds that were spent on writing results, on the event loop."""

    def __init__(self) -> None:
        self.on_results = 0.0

    def take(self) -> float:
        """Since the last time."""
        found, self.on_results = self.on_results, 0.0
        return found


SPENT: Final = Spent()


class Unfinished(NamedTuple):
    """What a plain handler returned is to be awaited: it is a wrapper around an async function. `context` is the one that it was called in."""

    awaitable: Awaitable[Any]
    context: ContextVars

    def abandon(self) -> None:
        """It will not be awaited."""
        if isinstance(self.awaitable, Coroutine):
            self.awaitable.close()


async def awaited(handler: Handler, context: Context, arguments: dict[str, Any]) -> Outcome:
    """Run an async handler. Never raises: a cancellation is an outcome too."""
    token = RUNNING.set(context)
    try:
        awaitable = handler.function(context, **arguments) if handler.takes_context else handler.function(**arguments)
    except BaseException as error:
        outcome = outcomes.of_exception(error)
    else:
        outcome = await finished(awaitable)
    RUNNING.reset(token)
    return outcome


async def finished(awaitable: Awaitable[Any]) -> Outcome:
    """Await what a handler returned, and what that returns. Never raises."""
    try:
        value = await guarded(awaitable)
        if value is None:
            return outcomes.NOTHING
        if is_awaitable(value):
            value = await fully(value)
        began = time.perf_counter()
        outcome = outcomes.of_result(value)
        SPENT.on_results += time.perf_counter() - began
    except BaseException as error:
        return outcomes.of_exception(error)
    return outcome


async def fully(awaitable: Awaitable[Any]) -> Any:
    """Await it, and what that returns, as a wrapper around an async function does."""
    value: Any = awaitable
    while is_awaitable(value):
        value = await guarded(value)
    return value


def called(handler: Handler, context: Context, arguments: dict[str, Any]) -> Outcome | Unfinished:
    """Run a plain handler in this thread. Never raises. What it sets in a ContextVar is gone with it: threads and processes run many handlers."""
    return copy_context().run(_called, handler, context, arguments)


def _called(handler: Handler, context: Context, arguments: dict[str, Any]) -> Outcome | Unfinished:
    RUNNING.set(context)
    try:
        value = forked.called(handler.function, *([context] if handler.takes_context else []), **arguments)
        return Unfinished(value, copy_context()) if is_awaitable(value) else outcomes.of_result(value)
    except BaseException as error:
        return outcomes.of_exception(error)


def paced(outcome: Outcome, handler: Handler, claimed: Claimed) -> Outcome:
    """The outcome with the wait of the type's own backoff, where a try failed and the handler named no wait. Never raises."""
    if handler.backoff is None or not isinstance(outcome, Failed) or outcome.after is not None:
        return outcome
    if not outcome.error.retryable or claimed.retry_count >= claimed.max_retries:
        return outcome
    attempt = claimed.retry_count + 1
    try:
        wait = handler.backoff.wait(attempt) if isinstance(handler.backoff, Backoff) else checked_wait(handler.backoff(attempt))
    except BaseException as error:
        said = {"task_id": str(claimed.id), "task_type": claimed.type, "attempt": claimed.attempt, "tries": attempt}
        log.warning("backoff failed, the default is used", **said, error=f"{type(error).__name__}: {outcomes.text_of(error)}")
        return outcome
    return msgspec.structs.replace(outcome, after=wait)


def is_awaitable(value: Any) -> bool:
    return hasattr(type(value), "__await__")


def not_started(claimed: Claimed, error: Exception) -> Outcome:
    """A handler that could not start costs no try: its task goes back for some time."""
    delay = not_here_delay(claimed.attempt, claimed.retry_count)
    log.error("handler cannot start, its task goes back", task_id=str(claimed.id), task_type=claimed.type, error=repr(error), retry_in=delay)
    return Snoozed(delay, AttemptOutcome.GIVEN_BACK)


class Narrator:
    """Logs tries. A line below the log level costs one attribute read: a busy worker has 40,000 a second."""

    def __init__(self) -> None:
        self._debug = bool(log.is_enabled_for(logging.DEBUG))

    def started(self, claimed: Claimed) -> None:
        if self._debug:
            log.debug("try started", task_id=str(claimed.id), task_type=claimed.type, attempt=claimed.attempt)

    def ended(self, claimed: Claimed, outcome: Outcome, since: float) -> None:
        """`since` is the monotonic time of its start."""
        succeeded = isinstance(outcome, Done)
        is_usual = succeeded or (isinstance(outcome, Snoozed) and outcome.error is not None)  # many tasks may wait for one circuit breaker
        if is_usual and not self._debug:
            return
        (log.debug if is_usual else log.info)(
            "try ended",
            task_id=str(claimed.id),
            task_type=claimed.type,
            attempt=claimed.attempt,
            outcome=WORDS[type(outcome)],
            seconds=round(time.monotonic() - since, 6),
            **({} if claimed.traceparent is None else {"trace_id": traces.trace_id(claimed.traceparent)}),
        )
