"""A load generator that uses little CPU: fixed requests over keep-alive connections, one in flight on each; responses are counted, not parsed."""

import asyncio
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

MOST_SECONDS = 300.0


class Connection(asyncio.Protocol):
    """One connection: sends `request()` until that returns None, and records how long each response took."""

    def __init__(self, request: Callable[[], bytes | None], took: list[float]) -> None:
        self._request, self._took = request, took
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class does not inherit from it
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if len(rest) < content_length(head):
            return
        status = head[9:12]
        if status not in (b"200", b"201"):
            self.done.set_exception(RuntimeError(f"{head.decode()} {rest.decode()}"))
            self._transport.close()
            return
        self._took.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the API closed the connection"))

    def _next(self) -> None:
        request = self._request()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


def post(url: str, path: str, body: bytes, *headers: str) -> bytes:
    """A whole POST request, with these header lines, too."""
    lines = [f"host: {urlsplit(url).netloc}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


async def run(url: str, connections: int, request: Callable[[], bytes | None]) -> tuple[float, list[float]]:
    """Send until `request()` returns None on every connection. Returns the seconds in all, and the seconds of each response."""
    parts = urlsplit(url)
    took: list[float] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    opened = [(await loop.create_connection(lambda: Connection(request, took), parts.hostname, parts.port))[1] for _ in range(connections)]
    async with asyncio.timeout(MOST_SECONDS):
        await asyncio.gather(*(connection.done for connection in opened))
    return time.perf_counter() - began, took
