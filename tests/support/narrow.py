"""A connection on which large replies stall and small ones pass, as on a path that drops large packets."""

import asyncio
from contextlib import AbstractAsyncContextManager

from support.proxy import between

LARGE = 100_000


class Narrow:
    """`held` counts the stalled replies; `widen` lets them pass, `cut_held` closes their connections."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.port = self.held = 0
        self._wide = asyncio.Event()
        self._holding: list[asyncio.StreamWriter] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []

    def url(self, url: str) -> str:
        """The address of the server through this proxy."""
        assert str(self._server_port) in url
        return url.replace(f":{self._server_port}", f":{self.port}")

    def widen(self) -> None:
        self._wide.set()

    def cut_held(self, most: int = 1000) -> None:
        """Close the connections with stalled replies, the oldest first."""
        for writer in self._holding[:most]:
            writer.transport.abort()
        del self._holding[:most]

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers += [writer, to_server]
        answered = 0

        async def ask() -> None:
            nonlocal answered
            while data := await reader.read(65536):
                answered = 0
                to_server.write(data)
            to_server.close()

        async def answer() -> None:
            nonlocal answered
            while data := await from_server.read(65536):
                answered += len(data)
                if answered > LARGE and not self._wide.is_set():
                    self.held += 1
                    self._holding.append(writer)
                    await self._wide.wait()
                writer.write(data)
            writer.close()

        self._pumps += [asyncio.create_task(ask()), asyncio.create_task(answer())]

    def end(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.transport.abort()


def narrow(server_port: int) -> AbstractAsyncContextManager[Narrow]:
    """Such a proxy in front of this port."""
    return between(Narrow(server_port))
