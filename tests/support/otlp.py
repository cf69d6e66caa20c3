"""A collector that keeps what it gets by OTLP over HTTP, decoded by OpenTelemetry's own messages."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MESSAGES: dict[str, Any] = {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


@dataclass
class Received:
    """What came, and the headers of the last request."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, message: Any) -> None:
        for one in [*getattr(message, "resource_spans", ()), *getattr(message, "resource_logs", ()), *getattr(message, "resource_metrics", ())]:
            self.services.add(attributes(one.resource)["service.name"])
            for scope in [*getattr(one, "scope_spans", ()), *getattr(one, "scope_logs", ()), *getattr(one, "scope_metrics", ())]:
                self.spans += getattr(scope, "spans", ())
                self.logs += getattr(scope, "log_records", ())
                self.metrics |= {metric.name: metric for metric in getattr(scope, "metrics", ())}

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


def attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a span, record, point or resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in owner.attributes}


@contextmanager
def collector() -> Iterator[Received]:
    """A running one; `url` is its address."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        """Answers every export with success."""

        def do_POST(self) -> None:  # the standard library's name
            received.headers = dict(self.headers)
            body = self.rfile.read(int(self.headers["content-length"]))
            received.take(MESSAGES[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
