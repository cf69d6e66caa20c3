"""uvicorn inside of the service: the service owns the signals, a stop lets open requests finish for a bounded time."""

import asyncio
import socket
from contextlib import nullcontext
from typing import Final

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT: Final = 256 << 10
KEEP_ALIVE: Final = 75  # seconds; longer than the idle time of usual proxies, which then close first
REST_SECONDS: Final = 30.0  # for the rest of a body that was answered before it had come


class Server:
    """`serve()` is its loop; `stop()` ends it."""

    def __init__(self, app: ASGIApp, listener: socket.socket, grace: float) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, int(grace)),
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]  # uvicorn would take them over
        self._listener = listener
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Take no more connections, finish open requests, return when all is done or the grace is over."""
        self._server.should_exit = True
        await self._ended.wait()


class Protocol(HttpToolsProtocol):
    """uvicorn's, with two bounds that it lacks.

    The head of a request has an end: uvicorn's parser would keep all of it in memory. And who is answered before the whole body came, because it is
    too large, has REST_SECONDS to send the rest, which is dropped: closed at once, as it is where the connection is not kept, a client that still sends would
    not see the answer.
    """

    _in_head, _head = True, 0
    _rest: asyncio.TimerHandle | None = None

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # the end of a body may have set it just now
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
            self._forget_rest()
            if not self.transport.is_closing():  # idle from now on; uvicorn counts the idle time from the answer only
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def _forget_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
