"""Sends spans to a collector by OTLP over HTTP, from a thread of its own.

The SDK takes 170 µs for the three spans of a task, which is seven times the task's own work; this takes an eighth of that (docs/adr/0016). It makes
OTLP's own messages: what the spans of one shape share is encoded once, and copied.
"""

import collections
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

import requests
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_CERTIFICATE
from opentelemetry.sdk.resources import Resource

from waggle.pinned import WAGGLE_VERSION
from waggle.telemetry.process import SPANS_DROPPED as DROPPED
from waggle.telemetry.traces import Span, SpanKind, SpanShape

log = structlog.get_logger()

SCHEMA: Final = "https://opentelemetry.io/schemas/1.45.0"
QUEUE: Final = 16_384  # spans that wait; more are dropped, tasks go on
BATCH: Final = 2_048
SHAPES: Final = 5_000  # that are kept
SHORT_PAUSE_SECONDS: Final = 0.05  # between two batches while many spans wait: encoding takes the interpreter from the tasks
SEND_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
REPEATED: Final = frozenset({429, 502, 503, 504})  # statuses after which a batch is sent again, once
KINDS: Final = {
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace_pb2.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace_pb2.Span.SPAN_KIND_CONSUMER,
}


class SpanSender:
    """`add` from any thread; it never waits."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Resource) -> None:
        self._url, self._session = url, requests.Session()
        self._session.headers.update({"content-type": "application/x-protobuf", "user-agent": f"waggle/{WAGGLE_VERSION}", **headers})
        self._session.verify = os.environ.get(OTEL_EXPORTER_OTLP_CERTIFICATE) or True
        self._resource = [_pair(name, value) for name, value in resource.attributes.items()]
        self._waiting: collections.deque[Span] = collections.deque()
        self._shapes: dict[SpanShape, Any] = {}
        self._stopping = threading.Event()
        self._said = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(self, span: Span) -> None:
        if len(self._waiting) >= QUEUE:
            DROPPED.inc()
        else:
            self._waiting.append(span)

    def stop(self) -> None:
        """Send what waits."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS if len(self._waiting) < BATCH else SHORT_PAUSE_SECONDS):
            self._send_some()
        while self._waiting:
            self._send_some()

    def _send_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if batch:
            body = self.encoded(batch)
            if not (self._post(body) or self._post(body)):
                DROPPED.inc(len(batch))

    def _post(self, body: bytes) -> bool:
        """Whether that is done with: taken, or refused for good."""
        try:
            answer = self._session.post(self._url, data=body, timeout=SEND_SECONDS)
        except requests.RequestException as error:
            self._say(str(error))
            self._stopping.wait(PAUSE_SECONDS)
            return False
        if answer.ok:
            self._said = False
        else:
            self._say(f"status {answer.status_code}")
        return answer.status_code not in REPEATED

    def _say(self, error: str) -> None:
        if not self._said:
            log.warning("traces are not sent", collector=self._url, error=error[:300])
        self._said = True

    def encoded(self, spans: Iterable[Span]) -> bytes:
        """The body of a request with these spans."""
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add(schema_url=SCHEMA)
        resource.resource.attributes.extend(self._resource)
        scope = resource.scope_spans.add(schema_url=SCHEMA)
        scope.scope.name, scope.scope.version = "waggle", WAGGLE_VERSION
        for span in spans:
            try:
                self._write(scope.spans.add(), span)
            except (ValueError, TypeError):  # SQL has written what is not an id, or a handler what OTLP cannot hold
                del scope.spans[-1]
                DROPPED.inc()
        encoded: bytes = request.SerializeToString()
        return encoded

    def _write(self, made: Any, span: Span) -> None:
        shape, context = span.shape, span.context
        known = self._shapes.get(shape)
        if known is None:
            if len(self._shapes) >= SHAPES:  # types and queues are few, unless SQL makes up new ones
                self._shapes.clear()
            known = self._shapes[shape] = trace_pb2.Span(
                name=shape.name, kind=KINDS[shape.kind], attributes=[_pair(name, value) for name, value in shape.attributes.items()]
            )
        made.CopyFrom(known)
        made.trace_id, made.span_id = bytes.fromhex(context.trace_id), bytes.fromhex(context.span_id)
        if span.parent_id is not None:
            made.parent_span_id = bytes.fromhex(span.parent_id)
        if context.state:
            made.trace_state = context.state
        made.start_time_unix_nano, made.end_time_unix_nano = span.began, span.ended
        made.flags = 1
        for name, value in span.attributes.items():
            pair = made.attributes.add(key=name)
            if isinstance(value, str):
                pair.value.string_value = value
            else:
                pair.value.int_value = value
        if span.error is not None:
            made.attributes.append(_pair("error.type", span.error))
            made.status.code, made.status.message = trace_pb2.Status.STATUS_CODE_ERROR, span.error
        if span.link is not None:
            made.links.add(trace_id=bytes.fromhex(span.link.trace_id), span_id=bytes.fromhex(span.link.span_id))


def _pair(name: str, value: Any) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=int(value)))
