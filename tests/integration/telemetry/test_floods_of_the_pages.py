"""Clients of a service's /metrics that send or read nothing: they are closed, and Prometheus is served as before."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from support.facts import until
from support.processes import Process
from support.system import Services
from waggle.telemetry import endpoint
from waggle.telemetry.endpoint import CONNECTIONS

ASK = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


async def answers(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False, timeout=2.0) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx2.TransportError:
            return False


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the pages."""
    listener = endpoint.listen("127.0.0.1", 0)
    async with endpoint.serving(listener, lambda: True):

        async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_connection(*listener.getsockname())
            return None

        reader, writer = await until(connected)
        yield reader, writer
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything until the connection ends."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{", b"\r\n"])
async def test_a_request_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    async with served() as (reader, writer):
        writer.write(sent)
        await ended(reader)


async def test_a_head_in_drips_ends_the_connection_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    async with served() as (reader, writer):

        async def drip() -> None:
            for byte in ASK * 10:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await ended(reader) == b""
        dripping.cancel()


async def test_one_connection_may_ask_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    async with served() as (reader, writer):
        for _ in range(6):
            writer.write(ASK)
            assert (await reader.readuntil(b"alive\n")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.1)


async def test_a_flood_is_closed_with_a_line_and_ends_by_itself(start: Services) -> None:
    process: Process = await start("dlq", environ={"WAGGLE_METRICS_PORT": "0"})
    host, port = process.metrics_url.removeprefix("http://").partition("/")[0].split(":")
    flood = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS + 40)]
    await until(lambda: process.logged("too many connections to the metrics page, closing more"))
    assert len(process.logged("too many connections to the metrics page, closing more")) == 1
    assert not await answers(process.metrics_url)
    await until(lambda: answers(process.metrics_url), 20.0, "the idle connections are closed")
    for _, writer in flood:
        writer.close()
