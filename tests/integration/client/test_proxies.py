"""A proxy before the API: its own answers are no answers of Waggle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import pytest

from support.client_handlers import add
from support.keys import ADMIN_KEY
from support.one_system import OneSystem
from waggle import Client, SyncClient
from waggle.client import errors


@asynccontextmanager
async def proxy(system: OneSystem, status: str, times: int) -> AsyncIterator[str]:
    """The address of a proxy that answers by itself so many times, and then passes connections on."""
    left, host, port = times, *system.api.api_url.partition("://")[2].split(":")
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        connections.add(asyncio.current_task())  # type: ignore[arg-type]  # each connection has a task
        async with closing(writer):
            if left > 0:
                left -= 1
                await reader.readuntil(b"\r\n\r\n")
                writer.write(f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops".encode())
                await writer.drain()
                return
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            async with closing(inner_writer):
                both = [asyncio.create_task(pump(reader, inner_writer)), asyncio.create_task(pump(inner_reader, writer))]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for each in both:
                    each.cancel()
                await asyncio.gather(*both, return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for connection in connections:
        connection.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)


async def test_one_that_does_not_reach_the_api_is_asked_again(system: OneSystem, caplog: pytest.LogCaptureFixture) -> None:
    async with proxy(system, "502 Bad Gateway", 2) as url, Client(url, ADMIN_KEY) as client:
        assert await (await client.submit(add.prepare(1, b=2))).result(60) == 3
    assert [record.levelname for record in caplog.records if record.name == "waggle.client"] == ["WARNING"] * 2
    assert "POST /api/tasks, again in" in caplog.text
    async with proxy(system, "504 Gateway Timeout", 2) as url:
        with SyncClient(url, ADMIN_KEY) as other:
            handle = await asyncio.to_thread(other.submit, add.prepare(1, b=2))
            assert await asyncio.to_thread(handle.result, 60) == 3


async def test_what_may_have_been_carried_out_and_has_no_key_is_not_asked_again(system: OneSystem) -> None:
    async with proxy(system, "503 Service Unavailable", 1) as url, Client(url, ADMIN_KEY) as client:
        with pytest.raises(errors.UnreachableError) as caught:
            await client.retry(UUID(int=7))
        assert caught.value.unknown
        with pytest.raises(errors.TaskNotFoundError):
            await client.retry(UUID(int=7))


async def test_what_is_no_waggle_api_is_said_at_once(system: OneSystem) -> None:
    async with proxy(system, "404 Not Found", 1) as url, Client(url, ADMIN_KEY) as client:
        with pytest.raises(errors.UnreachableError, match=r"answers, but not as a Waggle API \(status 404, text/html\)"):
            await client.submit(add.prepare(1))
        assert await (await client.submit(add.prepare(1))).result(60) == 2
    async with proxy(system, "200 OK", 1) as url, Client(url, ADMIN_KEY) as client:
        with pytest.raises(errors.UnreachableError, match="status 200, text/html"):
            await client.queues()
    async with proxy(system, "301 Moved Permanently", 1) as url, Client(url, ADMIN_KEY) as client:
        with pytest.raises(errors.UnreachableError, match="status 301"):
            await anext(client.events())
