"""What Waggle uses of uvicorn beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from waggle import pinned
from waggle.telemetry.endpoint import UVICORN
from waggle_api.http.connections import Connections

HEAD_BYTES: Final = 256 << 10
HEAD_SECONDS: Final = 10.0  # for the head of a request, and from the connection to its first request
REFUSED_SECONDS: Final = 1.0  # for the first byte of a connection that is refused: an answer before that would get lost
READ_SECONDS: Final = 60.0  # for a client to read what was sent to it
REST_SECONDS: Final = 30.0  # for the rest of a body whose request was answered before the body was complete


def require() -> None:
    """Check that the installed uvicorn is the one that these pieces were tested with. Raises WrongVersion."""
    pinned.require("uvicorn", UVICORN, "waggle_api.http.protocol uses private parts of it")


class SignallessServer(uvicorn.Server):
    """Leaves the signals to the service. uvicorn has no option for that (Kludex/uvicorn#402, #526).

    Guarded by tests/integration/api/http/test_protocol.py.
    """

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits that it lacks.

    There may be so many connections, each head must come within HEAD_SECONDS, and a client must read its answer within READ_SECONDS. uvicorn counts
    requests only, and its time-outs begin with the first answer (Kludex/uvicorn#160).
    Guarded by tests/security/test_floods.py.

    The head of a request is limited to HEAD_BYTES; uvicorn limits it for its other parser only (Kludex/uvicorn#157, #1684).
    Guarded by tests/integration/api/http/test_limits.py.

    A client that is answered before it has sent its whole body gets REST_SECONDS to finish sending; what it sends is dropped. uvicorn starts the idle
    timeout at the answer instead. If the connection were closed at once, a client that is still sending would not see the answer.
    Guarded by tests/integration/api/http/test_bodies_left_behind.py.
    """

    _in_head, _head = True, 0
    _rest: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _late: asyncio.TimerHandle | None = None
    _too_many: str | None = None

    def __init__(self, limits: Connections, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._too_many = self._limits.enter(self._address)
        if self._too_many == "":
            transport.abort()
        else:
            self._late = self.loop.call_later(HEAD_SECONDS if self._too_many is None else REFUSED_SECONDS, self._is_late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # the end of the previous body may have set it just now
        self._in_head, self._head = True, 0
        self._late = self._late or self.loop.call_later(HEAD_SECONDS, self._is_late)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._discard_late_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._rest = self.loop.call_later(REST_SECONDS, self.transport.close)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._rest is not None:
            self._discard_rest_timer()
            if not self.transport.is_closing():  # the connection is idle from now on
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._discard_rest_timer()
        self._discard_late_timer()
        self.resume_writing()
        self._limits.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._too_many is not None:
            self._end(503, "service_unavailable", f"too many connections: {self._too_many}", b"retry-after: 1\r\n")
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
        elif not self._is_answering and self._rest is self._late is self.timeout_keep_alive_task is None:  # what came is no request, such as an empty line
            self._late = self.loop.call_later(HEAD_SECONDS, self._is_late)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_late(self) -> None:
        self._late = None
        if self._is_answering:  # the one before: the next request of a pipeline has time until that is done
            self._late = self.loop.call_later(HEAD_SECONDS, self._is_late)
        elif self._in_head and self._head and self._too_many is None:
            self._end(408, "invalid_input", f"the head of the request did not arrive within {HEAD_SECONDS:g} s")
        else:  # nothing was asked
            self.transport.close()

    def _end(self, status: int, code: str, detail: str, more: bytes = b"") -> None:
        """Answer and close the connection. There is no request yet, so this is less than `problems` says."""
        if self.transport.is_closing():
            return
        body = json.dumps({"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}).encode()
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + more + b"\r\n" + body)
        self.transport.close()

    def _discard_late_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _discard_rest_timer(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
