"""A request that is answered before its body is complete: the API accepts the rest for a while, then closes; the idle timeout always applies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.facts import until
from waggle.telemetry import endpoint
from waggle_api.http import protocol, server
from waggle_api.http.connections import Connections

LARGE = 1 << 20
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % LARGE


async def too_large(_: Any, __: Any, send: Any) -> None:
    """Answers as soon as it has seen the head."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def answered() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of a server that says 413 at once, which has read that answer and has sent no byte of its body."""
    listener = endpoint.listen("127.0.0.1", 0)
    running = server.Server(too_large, listener, Connections(10, 10), grace=1.0)
    serving = asyncio.create_task(running.serve())
    await until(lambda: running._server.started)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        writer.write(HEAD)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")
        yield reader, writer
    finally:
        writer.close()
        async with asyncio.timeout(10):
            await running.stop()
            await serving


async def ends(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(10):
        assert await reader.read() == b""


async def test_a_client_that_keeps_sending_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.3)
    async with answered() as (reader, writer):

        async def closed() -> bool:
            writer.write(b" ")
            return reader.at_eof() or writer.is_closing() or reader.exception() is not None

        await until(closed)


async def test_a_client_that_sends_the_rest_may_use_the_connection_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.3)
    async with answered() as (reader, writer):
        writer.write(b" " * LARGE)
        await writer.drain()
        await asyncio.sleep(0.6)  # the time for the rest is over, and the rest had come
        writer.write(HEAD)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")


async def test_a_client_that_sends_the_rest_and_then_nothing_is_closed_after_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 1)
    async with answered() as (reader, writer):
        writer.write(b" " * LARGE)
        await writer.drain()
        await ends(reader)
