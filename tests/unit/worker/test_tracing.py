"""What SQL can write as a trace context fails no attempt."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from waggle.errors import ErrorCode, TaskError
from waggle.task import Claimed, Done, Failed
from waggle.telemetry.otlp import user_context
from waggle.telemetry.traces import SWITCH, Span
from waggle_worker import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ERROR = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "on request", retryable=True)


class Kept:
    """A recorder that keeps what it gets, and makes of each context what an exporter does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.failures: list[str] = []

    def span(self, span: Span) -> None:
        self.spans.append(span)

    def failure(self, context: Any, message: str, attributes: Any) -> None:
        user_context(context)
        assert attributes["exception.message"] == message
        self.failures.append(message)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    recorder = Kept()
    monkeypatch.setattr(SWITCH, "recorder", recorder)
    return recorder


def claimed(traceparent: str | None, tracestate: str | None = None) -> Claimed:
    now = datetime.now(UTC)
    return Claimed(uuid4(), 1, now, "some", "{}", 30.0, 0, 3, 0, "default", 1, "", "{}", now, now, None, None, traceparent, tracestate)


@pytest.mark.parametrize("text", ["x" * 54 + "1", f"00-{'z' * 32}-{SPAN}-01", f"00-{TRACE}-{'-' * 16}-01", "00-" + "\n" * 51 + "1", "", None])
def test_an_attempt_with_a_made_up_context_ends_as_any_other(kept: Kept, text: str | None) -> None:
    task = claimed(text, "a=\n\x00" * 1000)
    trace = tracing.trace_of(task)
    assert trace is None
    tracing.ended(task, trace, Done(None), 0.0)
    tracing.ended(task, trace, Failed(ERROR), 0.0)
    assert tracing.place(task, trace, Failed(ERROR)) is None
    assert (kept.spans, kept.failures) == ([], [])


def test_an_attempt_whose_trace_is_sampled_is_recorded_with_its_failure(kept: Kept) -> None:
    task = claimed(f"00-{TRACE}-{SPAN}-01", "vendor=1")
    trace = tracing.trace_of(task)
    assert trace is not None
    tracing.ended(task, trace, Failed(ERROR), 0.0)
    [span] = kept.spans
    assert (span.context.trace_id, span.parent_id, span.context.state, span.error) == (TRACE, SPAN, "vendor=1", "task_execution_failed")
    assert kept.failures == ["on request"]
