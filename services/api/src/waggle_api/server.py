"""uvicorn inside of the service: the service owns the signals, a stop lets open requests finish for a bounded time."""

import asyncio
import socket
from contextlib import nullcontext
from typing import Final

import uvicorn
from litestar.types import ASGIApp

KEEP_ALIVE: Final = 75  # seconds; longer than the idle time of usual proxies, which then close first


class Server:
    """`serve()` is its loop; `stop()` ends it."""

    def __init__(self, app: ASGIApp, listener: socket.socket, grace: float) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
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
