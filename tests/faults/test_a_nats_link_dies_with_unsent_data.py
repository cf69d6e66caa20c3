"""A link to NATS that dies while a service sends a lot: what was not sent never leaves, and nobody says that the connection is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.facts import until
from support.servers import NatsServer
from waggle.bus import connection
from waggle.bus.connection import Bus
from waggle.settings import Settings

MEBIBYTE = 1 << 20


class Proxy:
    """Stands between a client and a server. The links that are open when `dead` is set stand still from then on; new ones work."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.port = 0
        self.dead: set[asyncio.StreamReader] = set()
        self._open: set[asyncio.StreamReader] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []

    def kill_links(self) -> None:
        self.dead |= self._open

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server, from_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers += [writer, from_server]
        for source, target in ((reader, from_server), (to_server, writer)):
            self._open.add(source)
            self._pumps.append(asyncio.create_task(self._pump(source, target)))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if source in self.dead:
                await asyncio.Event().wait()
            target.write(data)
        target.close()

    def end(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def proxy(nats: NatsServer) -> AsyncIterator[Proxy]:
    made = Proxy(nats.port)
    server = await asyncio.start_server(made.link, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    made.end()
    await server.wait_closed()


@pytest.fixture
async def distant(nats: NatsServer, proxy: Proxy) -> AsyncIterator[Bus]:
    """A bus whose link can be killed."""
    url = nats.url.replace(str(nats.port), str(proxy.port))
    async with connection.connection(Settings(postgres_url="postgresql://not.used", nats_url=url), "test") as bus:
        await until(lambda: bus.connected)
        yield bus


async def test_the_bus_comes_back_over_a_new_connection(distant: Bus, proxy: Proxy) -> None:
    proxy.kill_links()
    for _ in range(200):  # more than the buffers between here and there take: then it is refused, and nobody is held up
        if not await distant.publish("test.nowhere", bytes(MEBIBYTE)):
            break
    else:
        raise AssertionError("the bus took 200 MiB that went nowhere")
    await until(lambda: distant.generation > 1, 25.0, "a new connection")
    assert distant.connected
