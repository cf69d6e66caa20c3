"""Connections that come in floods, and clients that send or read slowly: others are served as before."""

import asyncio
import contextlib
import json
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Request

from support.facts import until
from support.metrics import counted
from support.processes import Process, ready
from support.scale import figures
from support.system import Client, Services, client_of, ok
from waggle.telemetry import endpoint
from waggle_api.http import bodies, protocol, server
from waggle_api.http.connections import SPARE, Connections
from waggle_api.refusals import TooSlow

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ASK = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
IDLE = 2_000


def port_of(api: Process) -> int:
    return int(api.api_url.rpartition(":")[2])


async def connect(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(streams: Streams, request: bytes = ASK) -> bytes:
    """What comes back, up to the end of the connection or of the answer; empty if the connection ends."""
    reader, writer = streams
    writer.write(request)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await reader.readexactly(length)
    return b""


def close(*streams: Streams) -> None:
    for _, writer in streams:
        writer.transport.abort()


async def test_one_connection_too_many_is_told_and_the_others_are_served(start: Services) -> None:
    api = await start("api", api_connections_each=5, api_connections=100)
    port = port_of(api)
    held = [await connect(port) for _ in range(5)]
    for one in held:
        assert (await answer(one)).startswith(b"HTTP/1.1 200")
    more = await connect(port)
    refused = await answer(more)
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in refused
    problem = json.loads(refused.partition(b"\r\n\r\n")[2])
    assert (problem["code"], problem["detail"]) == ("service_unavailable", "too many connections: 5 connections of one address are open")
    assert await more[0].read() == b"", "it is closed"
    for one in held:
        assert (await answer(one)).startswith(b"HTTP/1.1 200")
    close(more, held.pop())
    async with client_of(api) as client:  # there is room again
        await until(lambda: _is_served(client))
    close(*held)
    assert (await counted(api, "waggle_http_connections_refused_total"))["address"] >= 1
    [line] = api.logged("too many connections, refusing more")
    assert (line["limit"], line["address"], line["of_address"]) == ("address", "127.0.0.1", 6)


async def _is_served(client: Client) -> bool:
    return (await client.get("/livez")).status_code == 200


async def test_all_connections_together_are_limited_too(start: Services) -> None:
    api = await start("api", api_connections_each=1_000, api_connections=20)
    port = port_of(api)
    flood = [await connect(port) for _ in range(20 + SPARE + 30)]
    answers = await asyncio.gather(*map(answer, flood))
    assert sum(said.startswith(b"HTTP/1.1 200") for said in answers) == 20
    assert all(said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) or not said for said in answers)
    close(*flood)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """A server with this application; its port."""
    listener = endpoint.listen("127.0.0.1", 0)
    running = server.Server(app, listener, Connections(100, 100), grace=1.0)
    task = asyncio.create_task(running.serve())
    await until(lambda: running._server.started)
    try:
        yield listener.getsockname()[1]
    finally:
        async with asyncio.timeout(10):
            await running.stop()
            await task


async def small(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await asyncio.sleep(0.3)
    await send({"type": "http.response.body", "body": b"ok"})


async def large(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (64 << 20))]})
    for _ in range(64):
        await send({"type": "http.response.body", "body": b" " * (1 << 20), "more_body": True})


@pytest.mark.parametrize(
    ("sent", "said"),
    [(b"", b""), (b"GET / HT", b"HTTP/1.1 408"), (b"GET / HTTP/1.1\r\nhost: x\r\n", b"HTTP/1.1 408"), (b"\r\n", b"HTTP/1.1 408")],
    ids=["nothing", "a part of a line", "a part of a head", "an empty line"],
)
async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch, sent: bytes, said: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with serving(small) as port:
        reader, writer = await connect(port)
        writer.write(sent)
        async with asyncio.timeout(5):
            found = await reader.read()
        assert found.startswith(said)
        assert bool(found) == bool(said)
        writer.close()


@pytest.mark.parametrize(("pause", "sent"), [(0.0, b"GET / HTTP/1.1\r\n"), (0.5, b"GET / HTTP/1.1\r\n"), (0.5, b"\r\n")])
async def test_an_answer_is_whole_before_what_comes_after_it_ends_the_connection(monkeypatch: pytest.MonkeyPatch, pause: float, sent: bytes) -> None:
    """The answer takes longer than a head may."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with serving(small) as port:
        reader, writer = await connect(port)
        writer.write(ASK)
        await asyncio.sleep(pause)
        writer.write(sent)
        async with asyncio.timeout(5):
            head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert rest == b"ok" if sent == b"\r\n" else rest.startswith(b"okHTTP/1.1 408")
        writer.close()


async def test_a_head_that_comes_byte_by_byte_is_late_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    async with serving(small) as port:
        reader, writer = await connect(port)

        async def drip() -> None:
            for byte in ASK * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        dripping.cancel()
        writer.close()


async def test_a_client_that_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.3)
    async with serving(large) as port:
        reader, writer = await connect(port)
        writer.write(ASK)
        await asyncio.sleep(1.0)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                assert len(await reader.read()) < 64 << 20
        writer.close()


async def reading(scope: Any, receive: Any, send: Any) -> None:
    try:
        await bodies.read(Request(scope, receive, send), dict(scope["headers"]), 1_000)
    except TooSlow:
        await send({"type": "http.response.start", "status": 408, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


async def test_a_body_that_comes_byte_by_byte_is_late_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.5)
    async with serving(reading) as port:
        reader, writer = await connect(port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n")

        async def drip() -> None:
            for _ in range(200):
                writer.write(b" ")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 408"), "and then it is closed"
        dripping.cancel()
        writer.close()


FEW_FILES = 256


async def with_few_files(start: Services, hard: int, **settings: int) -> Process:
    """An API that may have FEW_FILES open, and could ask for `hard`."""
    api = start.launch("api", **settings)
    resource.prlimit(api.pid, resource.RLIMIT_NOFILE, (FEW_FILES, hard))  # long before it reads its settings
    await ready(api)
    return api


async def test_it_takes_as_many_files_as_it_may_have(start: Services) -> None:
    api = await with_few_files(start, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    held = [await connect(port_of(api)) for _ in range(400)]
    async with client_of(api) as client:
        assert await _is_served(client)
    close(*held)
    [line] = api.logged("limit of open files raised")
    assert (line["before"], line["now"] > 400) == (FEW_FILES, True)


async def test_with_few_files_it_serves_fewer_connections_and_says_so(start: Services) -> None:
    api = await with_few_files(start, FEW_FILES)
    [line] = api.logged("fewer connections than set: the limit of open files is low")
    assert (line["connections"], line["open_files"]) == (160, FEW_FILES)
    held = [await connect(port_of(api)) for _ in range(120)]
    for one in held:
        assert (await answer(one)).startswith(b"HTTP/1.1 200")
    flood = [await connect(port_of(api)) for _ in range(280)]
    async with client_of(api) as client:
        await until(lambda: api.logged("too many connections, refusing more"))
        assert (await answer(held[0])).startswith(b"HTTP/1.1 200")
        close(*flood, *held)
        await until(lambda: _is_served(client))
    assert not [entry for entry in api.lines() if "Too many open files" in json.dumps(entry)]


async def p99(client: Client, requests: int = 300) -> float:
    """Milliseconds of a request, one after the other."""
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        ok(await client.get("/api/queues"))
        took.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(took, n=100)[98]


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123  # a few bytes of the kernel
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


async def test_two_thousand_idle_and_slow_connections_disturb_nobody(start: Services) -> None:
    api = await start("api")
    async with client_of(api) as client:
        await p99(client)
        usual, before = await p99(client), resident_mb(api.pid)
        slow = [await connect(port_of(api)) for _ in range(IDLE)]
        for number, (_, writer) in enumerate(slow):
            if number % 2:
                writer.write(
                    b"POST /api/tasks HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"content-type: application/json\r\ncontent-length: 99\r\n\r\n{" * (number % 4 > 1)
                )
        meanwhile, grown = await p99(client), resident_mb(api.pid) - before
        close(*slow)
        figures("slow connections", connections=IDLE, usual_p99_ms=round(usual, 2), p99_ms=round(meanwhile, 2), grown_mb=round(grown, 1))
        assert grown < 50
        assert meanwhile < 2 * usual + 20  # of a machine that runs other tests as well
