"""What every request gets: an id, which is in its answer and log lines, its metrics, and headers that tell browsers how careful to be."""

import os
import re
import time
from functools import cache
from typing import Any, Final

import structlog
from litestar.types import ASGIApp, Receive, Scope, Send

from waggle.telemetry import traces
from waggle.telemetry.catalogue import OTHER
from waggle_api import metrics

UNMATCHED: Final = "unmatched"
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# An answer is data for who asked: nothing else keeps it, runs it, shows it in a frame, or reads it as another type. What shows a page sets its own.
DEFENSES: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


TLS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")  # RFC 6797


def defenses(headers: Any, *, by_tls: bool) -> list[tuple[bytes, bytes]]:
    """Those that an answer with these headers lacks."""
    given = {name for name, _ in headers}
    found = [header for header in DEFENSES if header[0] not in given]
    return [*found, TLS_ONLY] if by_tls else found


def request_id(headers: Any) -> bytes:
    """The client's X-Request-ID if it is well-formed, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return bytes(value)
    return os.urandom(8).hex().encode()


def _is_traced(scope: Scope) -> bool:
    """Requests to the API that come with a trace, or where this process records some. Probes are not."""
    return scope["path"].startswith("/api/") and (traces.SWITCH.recorder is not None or any(name == b"traceparent" for name, _ in scope["headers"]))


class RequestTrace:
    """The span of a request: below that of the client, if there is one. W3C Trace Context; the answer says its place as Server-Timing `trace`."""

    def __init__(self, scope: Scope) -> None:
        parents = [value for name, value in scope["headers"] if name == b"traceparent"]
        state = b",".join(value for name, value in scope["headers"] if name == b"tracestate")
        self._path, self._scheme = scope["path"], scope["scheme"]
        self._began = time.time_ns()
        self._parent = traces.parse(parents[0].decode("latin-1"), state.decode("latin-1")) if len(parents) == 1 else None
        self.context = traces.begin(self._parent)
        self.headers = ((b"server-timing", f'trace;desc="{self.context.parent}"'.encode()),)
        self.exemplar = {"trace_id": self.context.trace_id} if self.context.sampled else None

    def record(self, method: str, route: str, status: int) -> None:
        """Failures of the server are recorded in any case."""
        context = self.context._replace(sampled=self.context.sampled or status >= 500)
        error = str(status) if status >= 500 else None
        traces.record(_shape(method, route, status, self._scheme), context, self._parent, self._began, {"url.path": self._path}, error=error)


@cache
def _shape(method: str, route: str, status: int, scheme: str) -> traces.SpanShape:
    attributes = {"http.request.method": method, "http.route": route, "http.response.status_code": status, "url.scheme": scheme}
    return traces.SpanShape(f"{method} {route}", traces.SpanKind.SERVER, attributes)


class Envelope:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        identifier = request_id(scope["headers"])
        scope["state"] = {"request_id": identifier.decode()}
        structlog.contextvars.bind_contextvars(request_id=identifier.decode())
        status, trace = 500, RequestTrace(scope) if _is_traced(scope) else None

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                careful = defenses(message["headers"], by_tls=scope["scheme"] == "https")
                also = scope["state"].get("headers", ()) if status != 429 else ()  # a refusal has its own
                traced = trace.headers if trace is not None else ()
                message["headers"] = [*message["headers"], *careful, *also, *traced, (b"x-request-id", identifier)]
            await send(message)

        try:
            with traces.inside(None if trace is None else trace.context):
                await self._app(scope, receive, send_with_id)
        finally:
            route = scope.get("path_template", UNMATCHED)
            method = str(scope.get("method"))
            method = method if method in _METHODS else OTHER
            metrics.requests(method, route, status).inc()
            metrics.seconds(route, status).observe(time.perf_counter() - began, None if trace is None else trace.exemplar)
            if trace is not None:
                trace.record(method, route, status)
