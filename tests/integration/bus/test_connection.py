"""The connection to NATS: it may fail at any time, reconnects by itself, and reports a server that is too old."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing
from nats.aio.client import Server
from nats.aio.msg import Msg

from support.facts import until
from support.fleet import FleetSettings
from support.servers import NatsServer
from waggle.bus import connection
from waggle.bus.access import NatsAccess
from waggle.bus.connection import RECONNECT_CAP_SECONDS, RECONNECT_FIRST_SECONDS, Bus, _with_jitter
from waggle.settings.shared import SettingsError


def a_server(reconnects: int) -> Server:
    server = Server(uri=SimpleNamespace(hostname="h", port=1))  # type: ignore[arg-type]
    server.reconnects = reconnects
    return server


def test_the_wait_before_a_reconnect_rises_and_never_passes_the_cap() -> None:
    for reconnects in range(50):
        most = min(RECONNECT_CAP_SECONDS, RECONNECT_FIRST_SECONDS * 2**reconnects)
        waits = [_with_jitter([a_server(reconnects)], {})[1] for _ in range(50)]
        assert all(most / 4 <= wait <= most for wait in waits)


def test_a_herd_does_not_come_back_at_once() -> None:
    waits = Counter(round(_with_jitter([a_server(6)], {})[1], 1) for _ in range(500))
    assert len(waits) >= 14
    assert max(waits.values()) < 100


def test_any_server_of_the_list_may_be_the_next_one() -> None:
    servers = [a_server(1), a_server(1), a_server(1)]
    assert {id(_with_jitter(servers, {})[0]) for _ in range(100)} == {id(server) for server in servers}


def bus_on(version: tuple[int, int, int]) -> Bus:
    """A bus that seems connected to a server of this version."""
    bus = Bus(NatsAccess(["nats://127.0.0.1:1"]), "test")
    major, minor, patch = version
    client: Any = SimpleNamespace(
        is_connected=True, tls=None, connected_url=None, connected_server_version=SimpleNamespace(major=major, minor=minor, patch=patch)
    )
    bus._client = client
    return bus


def test_a_server_that_is_too_old_is_told_with_both_versions_and_not_used() -> None:
    bus = bus_on((2, 11, 9))
    with structlog.testing.capture_logs() as lines:
        bus._begin()
    assert not bus.connected
    (line,) = lines
    assert line["log_level"] == "error"
    assert "2.11" in line["event"]
    assert "2.12" in line["event"]


def test_a_server_of_the_oldest_version_that_will_do_is_used() -> None:
    for version in ((2, 12, 0), (2, 15, 1), (3, 0, 0)):
        bus = bus_on(version)
        bus._begin()
        assert bus.connected


@pytest.mark.parametrize("url", ["", "nats://", "nats://h:port", "nats://h:70000", "nats://h,", "nats://[::1", "http://h:4222", "not an address"])
async def test_an_address_that_cannot_be_one_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="WAGGLE_NATS_URL"):
        async with connection.connection(FleetSettings(postgres_url="unused", nats_url=url), "test"):
            pass


async def test_a_connection_comes_back_after_kill_9_and_hears_again(nats: NatsServer, bus: Bus) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    await bus.subscribe("some.thing", hear)
    generation = bus.generation
    nats.restart()
    await until(lambda: bus.connected and bus.generation > generation)
    assert await bus.publish("some.thing", b"x")
    await until(lambda: heard == [b"x"])


async def test_while_nats_is_away_a_publish_is_refused_and_a_request_raises(nats: NatsServer, bus: Bus) -> None:
    nats.kill()
    await until(lambda: not bus.connected)
    assert not await bus.publish("some.thing", b"x")
    try:
        await bus.request("some.thing")
    except connection.NATS_OUTAGE:
        pass
    else:
        raise AssertionError("a request got a reply without a server")


async def test_a_service_starts_without_nats_and_finds_it_later(nats: NatsServer, settings: FleetSettings) -> None:
    nats.kill()
    async with connection.connection(settings, "test") as bus:
        assert not bus.connected
        nats.start()
        await until(lambda: bus.connected)
        assert bus.generation == 1


async def test_whoever_waits_for_the_next_connection_is_woken_by_it(nats: NatsServer, bus: Bus) -> None:
    waiter = asyncio.create_task(bus.renewed(30.0))
    nats.restart()
    await until(waiter.done)


async def test_many_clients_come_back_over_a_while_and_not_at_once(nats: NatsServer, settings: FleetSettings) -> None:
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(connection.connection(settings, f"test{n}")) for n in range(20)]
        await until(lambda: all(bus.connected for bus in buses))
        nats.restart()
        await until(lambda: all(bus.connected and bus.generation == 2 for bus in buses))
