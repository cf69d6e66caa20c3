"""Traces: W3C Trace Context in and out, and spans. Whether a trace is sampled is decided where it begins, before any work is done for it.

A span is recorded when it has ended, under an id that was given to it at its begin. Without an exporter (`WAGGLE_OTLP_ENDPOINT`) nothing is recorded, and
contexts are only passed on. Names, kinds and attributes follow the semantic conventions of OpenTelemetry 1.45.
"""

import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

CURRENT: ContextVar["TraceContext | Carrier | None"] = ContextVar("trace", default=None)
"""The span that whatever happens now belongs to: see `current`."""

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
STATE_LENGTH: Final = 512  # characters of a tracestate that are passed on, as the recommendation asks
_RANDOM: Final = random.Random()  # noqa: S311  # ids of spans
_RATIO_BITS: Final = 1 << 56


class SpanKind(Enum):
    """What part of a call a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class TraceContext(NamedTuple):
    """A place in a trace: https://www.w3.org/TR/trace-context/. `state` is the text of `tracestate`, passed on as it came."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str | None = None

    @property
    def parent(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "TraceContext":
        """A new span below this one."""
        return TraceContext(self.trace_id, _span_id(), self.sampled, self.state)


class Carrier(Protocol):
    """Something with a context that nobody has read yet, such as a claimed task. Most tasks never ask for theirs."""

    @property
    def traceparent(self) -> str | None: ...
    @property
    def tracestate(self) -> str | None: ...


class SpanShape:
    """What many spans share: name, kind and attributes. Make each once: exporters keep them by identity."""

    __slots__ = ("attributes", "kind", "name")

    def __init__(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> None:
        self.name, self.kind, self.attributes = name, kind, attributes


class Span(NamedTuple):
    """A span that has ended. Times are in nanoseconds since 1970. `error`: its type, when it failed; `link`: another place that led to it."""

    shape: SpanShape
    context: TraceContext
    parent_id: str | None
    began: int
    ended: int
    attributes: Mapping[str, Any]
    error: str | None = None
    link: TraceContext | None = None


class Recorder(Protocol):
    """Takes what happened to a collector. `failure` is an exception, as a log record."""

    def span(self, span: Span) -> None: ...
    def failure(self, context: TraceContext, message: str, attributes: Mapping[str, Any]) -> None: ...


class _Switch:
    """What this process records, and how often a trace that begins here is sampled."""

    recorder: Recorder | None = None
    ratio: float = 0.0
    handlers_trace: bool = False  # handlers may make spans by OpenTelemetry's own API

    def off(self) -> None:
        """Record nothing any more."""
        self.recorder = None


SWITCH: Final = _Switch()


def parse(parent: str | None, state: str | None = None) -> TraceContext | None:
    """The context of a `traceparent`, None for one that is invalid: then a trace begins here. A newer version is read as far as it is known."""
    found = _PARENT.fullmatch(parent) if parent else None
    if found is None or ((parent or "").startswith("00-") and found.group(4)):
        return None
    return TraceContext(found.group(1), found.group(2), bool(int(found.group(3), 16) & 1), kept_state(state))


def kept_state(state: str | None) -> str | None:
    """A state as it is passed on: printable, and so many members from its begin as fit."""
    if not state or not (state.isascii() and state.isprintable()):
        return None
    return state if len(state) <= STATE_LENGTH else state[: STATE_LENGTH + 1].rpartition(",")[0] or None


def trace_id(parent: str | None) -> str | None:
    """The trace of a `traceparent`."""
    found = parse(parent)
    return None if found is None else found.trace_id


def begin(parent: TraceContext | None) -> TraceContext:
    """A span that begins now: below its parent, or in a trace of its own, which is sampled by the ratio."""
    if parent is not None:
        return parent.child()
    name = os.urandom(16)
    return TraceContext(name.hex(), _span_id(), int.from_bytes(name[9:]) < SWITCH.ratio * _RATIO_BITS)


def current() -> TraceContext | None:
    """The span that whatever happens now belongs to."""
    found = CURRENT.get()
    return found if found is None or isinstance(found, TraceContext) else parse(found.traceparent, found.tracestate)


def _span_id() -> str:
    """At random, which need not be secret."""
    return f"{_RANDOM.getrandbits(64) or 1:016x}"


def record(
    shape: SpanShape,
    context: TraceContext,
    parent: TraceContext | None,
    began: int,
    attributes: Mapping[str, Any],
    *,
    ended: int | None = None,
    error: str | None = None,
    link: TraceContext | None = None,
) -> None:
    """Record a span that has ended, if its trace is sampled. `attributes` are those that its shape does not have."""
    if SWITCH.recorder is not None and context.sampled:
        parent_id = None if parent is None else parent.span_id
        SWITCH.recorder.span(Span(shape, context, parent_id, began, ended or time.time_ns(), attributes, error, link))


@contextmanager
def inside(context: TraceContext | None) -> Iterator[None]:
    """Let what happens in this block belong to a span."""
    token = CURRENT.set(context)
    try:
        yield
    finally:
        CURRENT.reset(token)


@cache
def _statement(name: str) -> SpanShape:
    return SpanShape(name, SpanKind.CLIENT, {"db.system.name": "postgresql", "db.operation.name": name})


def statement(name: str, began: int, error: str | None) -> None:
    """Record a statement of Waggle's, if it was made for a sampled trace."""
    parent = current()
    if parent is not None and parent.sampled:
        record(_statement(name), parent.child(), parent, began, {}, error=error)
