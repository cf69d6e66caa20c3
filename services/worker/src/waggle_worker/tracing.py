"""The spans of a worker: the claim of a task, each attempt, and its settle. An attempt is below the span that submitted its task, and linked to it.

Whether an attempt is traced was decided where the trace began; those that are not cost nearly nothing. An attempt that failed is recorded in any case.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from waggle.errors import TaskError
from waggle.task import Claimed, Done, Failed, Outcome, Snoozed
from waggle.telemetry.traces import SWITCH, SpanKind, SpanShape, TraceContext, kept_state, parse, record

SHAPES: Final = 5_000
TRACEPARENT_LENGTH: Final = 55
SAMPLED_ENDS: Final = frozenset("13579bdf")  # of a traceparent: the last bit of its flags
WORDS: Final[Mapping[type, str]] = {Done: "completed", Failed: "failed", Snoozed: "snoozed"}


@lru_cache(SHAPES)
def shape(operation: str, kind: SpanKind, queue: str, task_type: str, outcome: str = "") -> SpanShape:
    """That of the spans of a type: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ (1.45)."""
    attributes = {
        "messaging.system": "waggle",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "waggle.task.type": task_type,
        **({"waggle.task.outcome": outcome} if outcome else {}),
    }
    return SpanShape(f"{operation} {queue}", kind, attributes)


class AttemptTrace:
    """An attempt that is traced. `context` is its place, in which the handler runs; it begins when its handler does."""

    __slots__ = ("began", "context", "parent")

    def __init__(self, parent: TraceContext) -> None:
        self.parent, self.context, self.began = parent, parent.child(), time.time_ns()

    def begin(self) -> None:
        self.began = time.time_ns()


def submitted(claimed: Claimed) -> TraceContext | None:
    """The span that submitted it."""
    return parse(claimed.traceparent, claimed.tracestate)


def place(claimed: Claimed, trace: AttemptTrace | None, outcome: Outcome) -> tuple[str, TraceContext] | None:
    """The queue of an attempt and its place in its trace: for the settle of one that is recorded, and for the log lines of one that failed."""
    context = trace.context if trace is not None else submitted(claimed) if isinstance(outcome, Failed) else None
    return None if context is None else (claimed.queue, context)


def trace_of(claimed: Claimed) -> AttemptTrace | None:
    """That of a task whose trace is recorded here."""
    if SWITCH.recorder is None or not _is_sampled(claimed):
        return None
    parent = _read(claimed)
    try:
        int(parent.trace_id, 16), int(parent.span_id, 16)
    except ValueError:  # SQL has made it up
        return None
    return AttemptTrace(parent)


def received(claimed: Sequence[Claimed], began: int) -> None:
    """Record the claim of those that are traced; `began` in nanoseconds."""
    ended = time.time_ns()
    for task in [task for task in claimed if _is_sampled(task)]:
        parent = _read(task)
        of = shape("receive", SpanKind.CLIENT, task.queue, task.type)
        attributes = {"messaging.message.id": str(task.id), "messaging.batch.message_count": len(claimed)}
        record(of, parent.child(), parent, began, attributes, ended=ended, link=parent)


def ended(claimed: Claimed, trace: AttemptTrace | None, outcome: Outcome, since: float) -> None:
    """Record an attempt that is traced, or that failed. A snooze, which an open breaker and a stop are too, is no failure. `since` is its monotonic begin."""
    error = outcome.error if isinstance(outcome, Failed) else None
    if trace is None:
        if error is None or (parent := submitted(claimed)) is None:
            return
        trace = AttemptTrace(parent)
        trace.began = time.time_ns() - int((time.monotonic() - since) * 1e9)
    context = trace.context if error is None else trace.context._replace(sampled=True)
    of = shape("process", SpanKind.CONSUMER, claimed.queue, claimed.type, WORDS[type(outcome)])
    attributes = {"messaging.message.id": str(claimed.id), "waggle.task.attempt": claimed.attempt}
    record(of, context, trace.parent, trace.began, attributes, error=None if error is None else _kind(error), link=trace.parent)
    if error is not None and SWITCH.recorder is not None:
        SWITCH.recorder.failure(context, error.message, {**_exception(error), "waggle.task.type": claimed.type, "waggle.task.id": str(claimed.id)})


def settled(task_type: str, queue: str, context: TraceContext, began: int) -> None:
    """Record the settle of an attempt that is traced."""
    record(shape("settle", SpanKind.CLIENT, queue, task_type), context.child(), context, began, {})


def _is_sampled(claimed: Claimed) -> bool:
    """By its look: reading each takes ten times as long. The API has checked it; SQL can make up one that only looks so."""
    parent = claimed.traceparent
    return parent is not None and parent[-1:] in SAMPLED_ENDS and len(parent) == TRACEPARENT_LENGTH and parent.startswith("00-")


def _read(claimed: Claimed) -> TraceContext:
    parent = claimed.traceparent or ""
    return TraceContext(parent[3:35], parent[36:52], True, kept_state(claimed.tracestate))


def _kind(error: TaskError) -> str:
    """The exception's class, else the error's code."""
    found = (error.details or {}).get("exception")
    return found if isinstance(found, str) else error.code.value


def _exception(error: TaskError) -> dict[str, str]:
    """By the convention for exceptions in log records."""
    found = {"exception.type": _kind(error), "exception.message": error.message}
    trace = (error.details or {}).get("traceback")
    return {**found, "exception.stacktrace": trace} if isinstance(trace, str) else found
