"""Connections of a client. The two kinds have the same methods; `waggle.client.sync` is made from `waggle.client.aio` by name."""

import asyncio
import os
import socket
import ssl
import threading
import time
from typing import Any, NamedTuple, Self

from waggle.client.errors import UnreachableError
from waggle.client.wire import ApiAnswer, ResponseReader

READ_BYTES = 1 << 16


class Endpoint(NamedTuple):
    """Where connections lead. With `tls` they are encrypted, and the server proves that it is `host`."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class AsyncStream:
    """A connection of an event loop, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, endpoint: Endpoint, seconds: float) -> Self:
        """Raises UnreachableError."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls, limit=READ_BYTES)
        except (OSError, TimeoutError) as error:
            raise UnreachableError(why(error)) from error
        return cls(reader, writer)

    @property
    def usable(self) -> bool:
        """Whether the server has kept it open, and has said nothing that nobody asked for."""
        waiting = self._reader._buffer  # type: ignore[attr-defined]  # nothing public says whether there are bytes
        return not (waiting or self._reader.at_eof() or self._writer.is_closing())

    async def exchange(self, request: bytes, reader: ResponseReader, seconds: float) -> ApiAnswer:
        """Send a request and read its answer. Raises UnreachableError."""
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(request)
                await self._writer.drain()
                while reader.answer is None:
                    reader.feed(await self._reader.read(READ_BYTES))
        except (OSError, TimeoutError) as error:
            raise UnreachableError(why(error), unknown=True) from error
        return reader.answer

    async def send(self, request: bytes, seconds: float) -> None:
        """Send a request whose answer is read in pieces. Raises UnreachableError."""
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(request)
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise UnreachableError(why(error)) from error

    async def more(self, reader: ResponseReader, seconds: float) -> None:
        """Read a piece of the answer. Raises UnreachableError."""
        try:
            async with asyncio.timeout(seconds):
                reader.feed(await self._reader.read(READ_BYTES))
        except (OSError, TimeoutError) as error:
            raise UnreachableError(why(error)) from error

    async def close(self) -> None:
        self._writer.transport.abort()


class SyncStream:
    """A connection of a thread, for one request at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def open(cls, endpoint: Endpoint, seconds: float) -> Self:
        """Raises UnreachableError."""
        connected = None
        try:
            connected = socket.create_connection((endpoint.host, endpoint.port), seconds)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(endpoint.tls.wrap_socket(connected, server_hostname=endpoint.host) if endpoint.tls else connected)
        except OSError as error:
            if connected is not None:
                connected.close()
            raise UnreachableError(why(error)) from error

    @property
    def usable(self) -> bool:
        """Whether the server has kept it open."""
        self._socket.settimeout(0.0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False  # it is closed, or says something that nobody asked for

    def exchange(self, request: bytes, reader: ResponseReader, seconds: float) -> ApiAnswer:
        """Send a request and read its answer. Raises UnreachableError."""
        end = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(request)
            while reader.answer is None:
                self._socket.settimeout(max(end - time.monotonic(), 0.001))
                reader.feed(self._socket.recv(READ_BYTES))
        except OSError as error:
            raise UnreachableError(why(error), unknown=True) from error
        return reader.answer

    def send(self, request: bytes, seconds: float) -> None:
        """Send a request whose answer is read in pieces. Raises UnreachableError."""
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(request)
        except OSError as error:
            raise UnreachableError(why(error)) from error

    def more(self, reader: ResponseReader, seconds: float) -> None:
        """Read a piece of the answer. Raises UnreachableError."""
        try:
            self._socket.settimeout(seconds)
            reader.feed(self._socket.recv(READ_BYTES))
        except OSError as error:
            raise UnreachableError(why(error)) from error

    def close(self) -> None:
        self._socket.close()


AsyncSemaphore, async_sleep = asyncio.Semaphore, asyncio.sleep
SyncSemaphore, sync_sleep = threading.Semaphore, time.sleep


def async_place() -> Any:
    """What connections belong to: the running event loop."""
    return asyncio.get_running_loop()


def sync_place() -> Any:
    """What connections belong to: this process. A fork has its own."""
    return os.getpid()


def async_is_over(place: Any) -> bool:
    """Whether its connections can be used no more."""
    return bool(place.is_closed())


def sync_is_over(place: Any) -> bool:
    """Whether its connections can be used no more."""
    return bool(place != os.getpid())


def why(error: BaseException) -> str:
    """The system's words, without the number of the error."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)
    return (text.partition("] ")[2] if text.startswith("[Errno") else text) or type(error).__name__
