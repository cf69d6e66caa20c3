"""What Waggle uses of uvicorn beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from waggle import pinned
from waggle.telemetry.endpoint import UVICORN

HEAD_BYTES: Final = 256 << 10
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
    """uvicorn's protocol with two limits that it lacks.

    The head of a request is limited to HEAD_BYTES; uvicorn limits it for its other parser only (Kludex/uvicorn#157, #1684).
    Guarded by tests/integration/api/http/test_limits.py.

    A client that is answered before it has sent its whole body gets REST_SECONDS to finish sending; what it sends is dropped. uvicorn starts the idle
    timeout at the answer instead. If the connection were closed at once, a client that is still sending would not see the answer.
    Guarded by tests/integration/api/http/test_bodies_left_behind.py.
    """

    _in_head, _head = True, 0
    _rest: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # the end of the previous body may have set it just now
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def _discard_rest_timer(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
