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
    """uvicorn's, with an end to the head of a request: neither uvicorn nor its parser has one, and all of it is kept in memory."""

    _in_head, _head = True, 0

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")
