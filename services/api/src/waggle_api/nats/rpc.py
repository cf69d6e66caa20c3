"""What callers ask for over NATS by request and reply: each verb is a request to the REST API inside this process, so that answers and errors are the same.

Messages carry no identity: a request has the header `Authorization: Bearer …` or `X-API-Key`, as over HTTP. A refusal has the status of REST as
`Nats-Service-Error-Code`, and the problem as its body.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from litestar.types import ASGIApp

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.rpc import Gateway, RpcReply, Serve
from waggle.field_errors import Invalid, Unreadable
from waggle_api.http import bodies, envelope, problems
from waggle_api.refusals import Malformed

IN_FLIGHT: Final = 512
PASSED_ON: Final = frozenset({"authorization", "x-api-key", "idempotency-key", "traceparent", "tracestate", "x-request-id"})
STATUS: Final = "Waggle-Status"
ANSWERED: Final = {b"location": "Location", b"idempotent-replayed": "Idempotent-Replayed", b"retry-after": "Retry-After", b"x-request-id": "X-Request-Id"}


class OneTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which task. `wait`: how many seconds to wait at most until it has ended."""

    id: UUID
    wait: float | None = None


class MaybeTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which task; without an id, all that waits."""

    id: UUID | None = None


class OneQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of which queue, over how many seconds."""

    queue: str
    window: float | None = None


class Target(NamedTuple):
    """The request to the REST API that a verb stands for."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""


def _submit(body: bytes) -> Target:
    return Target("POST", "/api/tasks", body=body)


def _submit_batch(body: bytes) -> Target:
    return Target("POST", "/api/tasks/batch", body=body)


def _get(body: bytes) -> Target:
    asked = bodies.fields(body, OneTask)
    return Target("GET", f"/api/tasks/{asked.id}", "" if asked.wait is None else urlencode({"wait": asked.wait}))


def _cancel(body: bytes) -> Target:
    return Target("DELETE", f"/api/tasks/{bodies.fields(body, OneTask).id}")


def _stats(body: bytes) -> Target:
    asked = bodies.fields(body, OneQueue)
    return Target("GET", f"/api/queues/{quote(asked.queue, safe='')}/stats", "" if asked.window is None else urlencode({"window": asked.window}))


def _explain(body: bytes) -> Target:
    asked = bodies.fields(body, MaybeTask)
    return Target("GET", "/api/explain" if asked.id is None else f"/api/tasks/{asked.id}/explain")


VERBS: Final[Mapping[str, Callable[[bytes], Target]]] = {
    "submit": _submit,
    "submit_batch": _submit_batch,
    "get": _get,
    "cancel": _cancel,
    "stats": _stats,
    "explain": _explain,
}


def gateway(bus: Bus, app: ASGIApp) -> Gateway:
    """The NATS micro service `waggle`. All APIs share the requests."""
    served: dict[str, Serve] = {subjects.rpc(verb): partial(_serve, app, target) for verb, target in VERBS.items()}
    return Gateway(bus, subjects.API_SERVICE, served, IN_FLIGHT)


async def _serve(app: ASGIApp, read: Callable[[bytes], Target], data: bytes, headers: Mapping[str, str]) -> RpcReply:
    passed = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items() if name.lower() in PASSED_ON]
    try:
        target = read(data)
    except (Malformed, Unreadable, Invalid) as error:
        scope = {"state": {"request_id": envelope.request_id(passed).decode()}, "method": "REQUEST", "path_template": "waggle.rpc"}
        refused = problems.response(scope, error)
        return _reply(refused.status, refused.body, {})
    return await _ask(app, target, passed)


async def _ask(app: ASGIApp, target: Target, headers: list[tuple[bytes, bytes]]) -> RpcReply:
    """One request to the ASGI application."""
    sent: list[Any] = []
    received = iter([{"type": "http.request", "body": target.body, "more_body": False}])

    async def receive() -> Any:
        for message in received:
            return message
        return await asyncio.Event().wait()  # who asks over NATS does not disconnect

    async def send(message: Any) -> None:
        sent.append(message)

    length = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(target.body))] if target.method == "POST" else []
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": target.method,
        "scheme": "http",
        "path": target.path,
        "raw_path": target.path.encode(),
        "query_string": target.query.encode(),
        "root_path": "",
        "headers": [*headers, *length],
        "client": ("nats", 0),
        "server": ("nats", 0),
    }
    await app(scope, receive, send)
    status = sent[0]["status"]
    answered = {ANSWERED[name]: value.decode("latin-1") for name, value in sent[0]["headers"] if name in ANSWERED}
    body = b"".join([message.get("body", b"") for message in sent[1:]])
    return _reply(status, body, answered)


def _reply(status: int, body: bytes, headers: Mapping[str, str]) -> RpcReply:
    error = None if status < 400 else (str(status), msgspec.json.decode(body, type=dict[str, Any])["title"])
    return RpcReply(body, {STATUS: str(status), **headers}, error)
