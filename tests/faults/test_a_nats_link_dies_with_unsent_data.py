"""A connection to NATS dies silently while a service sends a lot: unsent data never leaves."""

from collections.abc import AsyncIterator

import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.proxy import Proxy, proxy
from support.servers import NatsServer
from waggle.bus import connection
from waggle.bus.connection import Bus

MEBIBYTE = 1 << 20


@pytest.fixture
async def link(nats: NatsServer) -> AsyncIterator[Proxy]:
    async with proxy(nats.port) as made:
        yield made


@pytest.fixture
async def distant(nats: NatsServer, link: Proxy) -> AsyncIterator[Bus]:
    """A bus on a connection that the test can kill."""
    async with connection.connection(FleetSettings(postgres_url="postgresql://not.used", nats_url=link.url(nats.url)), "test") as bus:
        await until(lambda: bus.connected)
        yield bus


async def test_the_bus_comes_back_over_a_new_connection(distant: Bus, link: Proxy) -> None:
    link.kill_links()
    for _ in range(200):  # more than all buffers on the way hold; then publish refuses and does not block
        if not await distant.publish("test.nowhere", bytes(MEBIBYTE)):
            break
    else:
        raise AssertionError("the bus accepted 200 MiB on a dead connection")
    await until(lambda: distant.generation > 1, 25.0, "a new connection")
    assert distant.connected
