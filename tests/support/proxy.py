"""A connection to a server that can die silently: nothing passes, and neither side notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeVar


class Proxy:
    """Stands between clients and a server on this machine. Nothing passes on a dead link, and it is not closed."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.port = 0
        self._is_cut = False
        self._open: set[asyncio.StreamReader] = set()
        self._dead: set[asyncio.StreamReader] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()

    def kill_links(self) -> None:
        """Let the open links die; new ones work."""
        self._dead |= self._open

    def cut(self) -> None:
        """Pull the cable: open links die, and new ones lead nowhere until `heal`."""
        self._is_cut = True
        self.kill_links()

    def move(self, server_port: int) -> None:
        """Let new links lead to another server; open ones stay."""
        self._server_port = server_port

    def heal(self) -> None:
        """Let new links work again; dead ones stay dead."""
        self._is_cut = False

    def url(self, url: str) -> str:
        """The address of the server through this proxy."""
        assert str(self._server_port) in url
        return url.replace(f":{self._server_port}", f":{self.port}")

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._is_cut:
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(to_server)
        for source, target in ((reader, to_server), (from_server, writer)):
            self._open.add(source)
            pump = asyncio.create_task(self._pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if source in self._dead:
                    await asyncio.Event().wait()
                target.write(data)
        except ConnectionError:
            pass
        if source in self._dead:
            await asyncio.Event().wait()
        self._open.discard(source)
        target.close()

    def close_links(self) -> None:
        """Close the open and the dead links, so that both sides notice."""
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def end(self) -> None:
        self.close_links()


class Link(Protocol):
    """A proxy between clients and a server: it calls `link` for each client on `port`, until `end`."""

    port: int

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    def end(self) -> None: ...


L = TypeVar("L", bound=Link)


@asynccontextmanager
async def between(made: L) -> AsyncIterator[L]:
    """Run it for the length of the block, in the event loop of the test."""
    server = await asyncio.start_server(made.link, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.end()
        await server.wait_closed()


def proxy(server_port: int) -> AbstractAsyncContextManager[Proxy]:
    """A proxy in front of this port."""
    return between(Proxy(server_port))
