"""uvicorn inside the service: the service owns the signals, and a stop gives open requests a limited time to finish."""

import asyncio
import socket
from typing import Final

import uvicorn
from litestar.types import ASGIApp

from waggle_api.http import protocol

KEEP_ALIVE_SECONDS: Final = 75  # longer than the idle time of usual proxies, so that they close first


class Server:
    """`serve()` is its loop; `stop()` ends it. Raises WrongVersion if another uvicorn is installed."""

    def __init__(self, app: ASGIApp, listener: socket.socket, grace: float) -> None:
        protocol.require()
        config = uvicorn.Config(
            app,
            http=protocol.BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(grace)),
        )
        self._server = protocol.SignallessServer(config)
        self._listener = listener
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Accept no more connections, finish open requests, and return once all are done or the grace period is over."""
        self._server.should_exit = True
        await self._ended.wait()
