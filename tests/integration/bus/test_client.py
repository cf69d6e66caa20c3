"""The pieces of nats-py beyond its documented interface; tests/faults/test_a_nats_link_dies_with_unsent_data.py has the reconnect."""

import asyncio
import time
from pathlib import Path

import pytest
import uvloop
from nats.aio.msg import Msg
from nats.errors import StaleConnectionError

from support.facts import until
from support.processes import another_version, launch
from support.proxy import proxy
from support.servers import NatsServer
from waggle.bus.client import CLOSE_SECONDS, NATS_PY_VERSION, NatsClient
from waggle.bus.connection import Bus
from waggle.settings.shared import Settings

MEBIBYTE = 1 << 20


async def test_a_service_does_not_start_with_another_version_of_nats_py(settings: Settings, folder: Path) -> None:
    process = launch("dlq", settings, folder, environ=another_version("nats-py", folder))
    assert await process.ended() == 2
    assert f"nats-py 0.0.1 is installed, but Waggle needs exactly {NATS_PY_VERSION}" in process.tail()


async def test_a_close_does_not_wait_for_a_dead_link(nats: NatsServer) -> None:
    async with proxy(nats.port) as link:
        client = NatsClient()
        await client.connect(link.url(nats.url), allow_reconnect=False, pending_size=64 * MEBIBYTE)
        link.kill_links()
        for _ in range(32):  # more than all buffers on the way hold
            await client.publish("test.nowhere", bytes(MEBIBYTE))
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < CLOSE_SECONDS + 3.0


def test_a_close_drops_what_no_connection_can_send(nats: NatsServer) -> None:
    """On uvloop, as services run."""

    async def close_while_reconnecting() -> None:
        client = NatsClient()
        await client.connect(nats.url, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
        nats.kill()
        await until(lambda: client.is_reconnecting and client.transport.is_closing())
        await client.publish("test.nowhere", b"x")
        await client.close()
        assert client.is_closed

    uvloop.run(close_while_reconnecting())


def test_a_close_during_the_first_steps_of_a_reconnect_is_no_cancellation(nats: NatsServer) -> None:
    """The close cancels the reconnect, and with it the future that both of them wait for."""

    async def close_after(steps: int) -> None:
        client = NatsClient()
        await client.connect(nats.url, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
        await client._process_op_err(StaleConnectionError())  # as the loop that reads does
        for _ in range(steps):
            await asyncio.sleep(0)
        await client.close()
        assert client.is_closed

    for steps in range(8):
        uvloop.run(close_after(steps))


async def test_a_cancellation_during_a_flush_is_not_lost(nats: NatsServer) -> None:
    client = NatsClient()
    await client.connect(nats.url, flusher_queue_size=1)
    task = asyncio.create_task(client._flush_pending(force_flush=True))
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.close()


async def test_a_flush_that_was_given_up_does_not_make_the_client_deaf(nats: NatsServer) -> None:
    client = NatsClient()
    await client.connect(nats.url)
    flush = asyncio.create_task(client.flush())
    await asyncio.sleep(0)  # its PING is sent
    flush.cancel()
    await client.flush()
    assert flush.cancelled()
    assert client.is_connected
    await client.close()


async def test_a_cancellation_that_comes_together_with_a_reply_is_not_lost(bus: Bus) -> None:
    async def echo(message: Msg) -> None:
        await bus.publish(message.reply, b"")

    async def ask_for_ever() -> None:
        while True:
            await bus.request("some.thing")

    await bus.subscribe("some.thing", echo)
    task = asyncio.create_task(ask_for_ever())
    assert bus._client
    (reply,) = await until(lambda: list(bus._client._resp_map.values()) if bus._client else [])
    reply.add_done_callback(lambda _: task.cancel())
    await until(task.done)
    assert task.cancelled()


async def test_many_messages_of_one_write_arrive_in_their_order(bus: Bus) -> None:
    heard: list[tuple[str, bytes]] = []

    async def hear(message: Msg) -> None:
        heard.append((message.subject, message.data))

    await bus.subscribe("some.*", hear)
    sent = [(f"some.n{n % 3}", str(n).encode() * (n % 5)) for n in range(100)]
    assert await bus.publish_all(sent)
    await until(lambda: heard == sent)


async def test_what_the_server_says_against_a_connection_is_a_refusal() -> None:
    """The server greets with an error, as it does with too many connections."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR 'maximum connections exceeded'\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def silent(_: Exception) -> None:
        pass

    client = NatsClient()
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await client.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False, error_cb=silent)
        await client.close()
