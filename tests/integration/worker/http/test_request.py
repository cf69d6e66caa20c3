"""The built-in type `http.request`: what it sends, what comes back, what is tried again, and where it does not go."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from aiohttp import web

from support import given
from support.called import Called, called
from support.facts import until
from support.fleet import FleetSettings
from support.rest import at_rest
from support.system import Services
from waggle import BreakerOpen, Context, Reject, Retry
from waggle.bus.access import NatsAccess
from waggle.bus.connection import Bus
from waggle.errors import ErrorCode
from waggle.task import Claimed
from waggle_worker.http.once import KEPT_SECONDS
from waggle_worker.http.request import Outgoing
from waggle_worker.protect.breakers import Breakers
from waggle_worker.protect.calls import BreakerCall

Pool = asyncpg.Pool
Ask = Callable[..., Any]


@pytest.fixture
async def service() -> AsyncIterator[Called]:
    async with called() as made:
        yield made


def a_context(breakers: Breakers, timeout: float = 60.0) -> Context:
    now = datetime.now(UTC)
    claimed = Claimed(
        id=uuid4(), attempt=1, started_at=now, type="http.request", payload="{}", timeout=timeout, retry_count=0, max_retries=3, lost_count=0,
        queue="default", priority=1, description="", metadata="{}", created=now, run_at=now, deadline=None, unique_key=None, traceparent=None,
        tracestate=None,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    return Context(claimed, lambda: False, lambda name, ignore: BreakerCall(breakers, name, ignore, loop, set()))


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Makes a request as the handler does; its breakers are those of a worker that has no NATS."""
    settings = FleetSettings(postgres_url="x", nats_url="x", http_allow=("127.0.0.1", "localhost"), http_body_limit=1_000, breaker_threshold=3)
    breakers = Breakers(Bus(NatsAccess(["nats://127.0.0.1:1"]), "nobody"), settings)
    async with Outgoing(settings) as outgoing:
        yield lambda url, *, task_timeout=60.0, **payload: outgoing.request(a_context(breakers, task_timeout), url, **payload)


async def test_the_answer_comes_back(ask: Ask, service: Called) -> None:
    found = await ask(f"{service.url}/hello?a=1", method="POST", json={"x": [1]}, headers={"X-Bee": "7", "Idempotency-Key": "mine"})
    assert (found["status"], found["body"], found["encoding"], found["truncated"]) == (200, "hello", "text", False)
    assert found["headers"]["content-type"] == "text/plain; charset=utf-8"
    [seen] = service.calls
    assert (seen.method, seen.path_qs, service.bodies) == ("POST", "/hello?a=1", [b'{"x":[1]}'])
    sent = {name: seen.headers[name] for name in ("X-Bee", "Idempotency-Key", "Content-Type")}
    assert sent == {"X-Bee": "7", "Idempotency-Key": "mine", "Content-Type": "application/json"}


async def test_every_request_has_an_idempotency_key_and_none_has_cookies_of_another(ask: Ask, service: Called) -> None:
    async def with_a_cookie(_: web.Request) -> web.Response:
        return web.Response(headers={"Set-Cookie": "session=secret"})

    service.answering = with_a_cookie
    await ask(service.url)
    await ask(service.url)
    keys = [UUID(call.headers["Idempotency-Key"]) for call in service.calls]
    assert (len(set(keys)), [call.headers.get("Cookie") for call in service.calls]) == (2, [None, None])


async def test_a_long_body_is_cut_off_and_one_that_is_no_text_is_base64(ask: Ask, service: Called) -> None:
    body = ("ä" * 2_000).encode()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body if request.path == "/long" else b"\x00\xff", content_type="text/plain", charset="utf-8")

    service.answering = answer
    long, binary = await ask(f"{service.url}/long"), await ask(f"{service.url}/binary")
    assert (long["body"], long["truncated"], long["encoding"]) == ("ä" * 500, True, "text")
    assert (base64.b64decode(binary["body"]), binary["truncated"], binary["encoding"]) == (b"\x00\xff", False, "base64")


@pytest.mark.parametrize(("status", "code"), [(500, ErrorCode.SERVICE_UNAVAILABLE), (408, ErrorCode.SERVICE_UNAVAILABLE), (429, ErrorCode.RATE_LIMIT_EXCEEDED)])
async def test_what_may_work_later_is_tried_again(ask: Ask, service: Called, status: int, code: ErrorCode) -> None:
    service.status = status
    with pytest.raises(Retry) as caught:
        await ask(service.url)
    assert (caught.value.code, caught.value.after, (caught.value.details or {})["status"]) == (code, None, status)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
async def test_what_cannot_work_is_not_tried_again_and_no_redirect_is_followed(ask: Ask, service: Called, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no", headers={"Location": f"{service.url}/elsewhere"})

    service.answering = answer
    with pytest.raises(Reject) as caught:
        await ask(service.url)
    assert caught.value.details == {"status": status, "body": "no", "encoding": "text"} | ({"location": f"{service.url}/elsewhere"} if status < 400 else {})
    assert len(service.calls) == 1


@pytest.mark.parametrize("status", [302, 404, 503])
async def test_an_expected_status_is_a_success(ask: Ask, service: Called, status: int) -> None:
    service.status = status
    assert (await ask(service.url, expected_status=[200, status]))["status"] == status


async def test_a_success_that_is_not_expected_is_none(ask: Ask, service: Called) -> None:
    with pytest.raises(Reject, match="the server answered 200"):
        await ask(service.url, expected_status=[201])


async def test_a_server_that_does_not_answer_in_time_is_tried_again(ask: Ask, service: Called) -> None:
    service.going_on.clear()
    for limits in ({"timeout": 0.1}, {"task_timeout": 0.1}):
        with pytest.raises(Retry) as caught:
            await ask(service.url, **limits)
        assert caught.value.code is ErrorCode.TASK_TIMEOUT


async def test_a_host_that_fails_is_left_alone_and_others_are_not(ask: Ask, service: Called) -> None:
    service.status = 503
    for _ in range(3):
        with pytest.raises(Retry):
            await ask(service.url)
    with pytest.raises(BreakerOpen, match=f"http:127.0.0.1:{service.port}: the server answered 503"):
        await ask(service.url)
    assert len(service.calls) == 3
    with pytest.raises(Retry, match="503"):
        await ask(f"http://localhost:{service.port}")


async def raw(head: bytes, body: bytes = b"") -> asyncio.Server:
    """A server that answers every request with these bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def test_headers_that_are_no_utf8_spoil_neither_a_result_nor_an_error(ask: Ask) -> None:
    async with await raw(b"200 OK\r\nX-Name: caf\xe9") as server:
        found = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert msgspec.json.decode(msgspec.json.encode(found))["headers"]["x-name"] == "caf?"
    async with await raw(b"302 Found\r\nLocation: /caf\xe9") as server:
        with pytest.raises(Reject) as caught:
            await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert caught.value.details is not None
    assert msgspec.json.decode(msgspec.json.encode(caught.value.details))["location"] == "/caf?"


async def test_a_text_of_nothing_but_control_characters_is_base64_because_it_would_be_six_times_as_long(ask: Ask) -> None:
    async with await raw(b"200 OK\r\nContent-Type: text/plain", b"\x01" * 900) as server:
        found = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (found["encoding"], base64.b64decode(found["body"])) == ("base64", b"\x01" * 900)


async def test_nobody_listening_is_an_error_of_the_network(ask: Ask) -> None:
    for _ in range(3):
        with pytest.raises(Retry) as caught:
            await ask("http://127.0.0.1:1/")
        assert caught.value.code is ErrorCode.NETWORK_ERROR
    with pytest.raises(BreakerOpen):
        await ask("http://127.0.0.1:1/")


@pytest.mark.parametrize("status", [404, 429])
async def test_an_answer_says_that_the_host_works(ask: Ask, service: Called, status: int) -> None:
    for answer in (503, 503, status, 503, 503):
        service.status = answer
        with pytest.raises((Retry, Reject), match=str(answer)):
            await ask(service.url)
    assert len(service.calls) == 5


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::ffff:a00:1]/", "http://[64:ff9b::a00:1]/", "http://[fe80::1]/",
        "http://0/", "http://0.0.0.0/", "http://[::]/", "http://2130706433.example.invalid@10.0.0.1/",
    ],
)  # fmt: skip
async def test_private_addresses_are_refused_and_that_is_no_failure_of_the_host(ask: Ask, url: str) -> None:
    for _ in range(4):  # more often than a breaker takes
        with pytest.raises(Reject) as caught:
            await ask(url)
        assert caught.value.code in (ErrorCode.UNAUTHORIZED, ErrorCode.VALIDATION_ERROR)


async def test_a_name_that_leads_to_a_private_address_is_refused(service: Called) -> None:
    settings = FleetSettings(postgres_url="x", nats_url="x")
    breakers = Breakers(Bus(NatsAccess(["nats://127.0.0.1:1"]), "nobody"), settings)
    async with Outgoing(settings) as outgoing:
        for host in ("localhost", "0x7f.1", "127.1", "2130706433", "127.0.0.1", "[::1]"):
            with pytest.raises(Reject):
                await outgoing.request(a_context(breakers), f"http://{host}:{service.port}/")
    assert service.calls == []


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({"url": "ftp://a.example/"}, "url"),
        ({"url": "http:///nowhere"}, "url"),
        ({"url": "http://a.example/\r\nX: y"}, "url"),
        ({"url": "http://user:secret@a.example/"}, "Authorization"),
        ({"url": "http://a.example/", "headers": {"X-A": "1\r\nX-B: 2"}}, "X-A"),
        ({"url": "http://a.example/", "headers": {"X-A\n": "1"}}, "X-A"),
        ({"url": "http://a.example/", "headers": {"Host": "b.example"}}, "Host"),
        ({"url": "http://a.example/", "headers": {"transfer-encoding": "chunked"}}, "transfer-encoding"),
        ({"url": "http://a.example/", "body": "x", "json": {}}, "body and json"),
    ],
)
async def test_a_request_that_cannot_be_made_is_told_without_its_secrets(ask: Ask, payload: dict[str, Any], what: str) -> None:
    with pytest.raises(Reject, match=what) as caught:
        await ask(**payload)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert "secret" not in str(caught.value)


async def test_a_worker_runs_it_waits_as_long_as_it_is_told_and_refuses_what_is_not_allowed(pool: Pool, start: Services, service: Called) -> None:
    await start("scheduler")
    await start("worker", http_allow=(f"127.0.0.1:{service.port}",))

    async def submit(url: str) -> UUID:
        [task_id] = await given.waiting(pool, ring=False, type="http.request", payload=json.dumps({"url": url}))
        return task_id

    done, refused = await at_rest(pool, await submit(service.url)), await at_rest(pool, await submit("http://127.0.0.1:1/"))
    assert (done["status"], json.loads(done["result"])["body"]) == ("completed", "hello")
    assert (refused["status"], refused["retry_count"], json.loads(refused["error"])["code"]) == ("dead_letter", 0, "unauthorized")

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1000"})

    service.answering = busy
    told_to_wait = await submit(service.url)

    async def waits() -> bool:
        return (await given.row(pool, told_to_wait))["retry_count"] == 1

    await until(waits)
    row = await given.row(pool, told_to_wait)
    assert (row["status"], json.loads(row["error"])["code"]) == ("pending", "rate_limit_exceeded")
    assert 1_000 <= (row["run_at"] - row["updated"]).total_seconds() <= 1_100


class Closing:
    """A server that reads each request and closes the connection without an answer; it answers those for `/fine`. `seen` are the methods."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.connections = self.closed_by_client = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                method, path, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")
                if path != "/fine":
                    self.seen.append(method)
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            self.closed_by_client += 1
        finally:
            writer.close()


@pytest.fixture
async def closing() -> AsyncIterator[Closing]:
    made = Closing()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


@pytest.mark.parametrize("is_used", [False, True], ids=["a new connection", "a connection that was used before"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
async def test_a_request_without_an_answer_was_sent_once(method: str, is_used: bool, ask: Ask, closing: Closing) -> None:
    if is_used:
        await ask(f"{closing.url}/fine")
    with pytest.raises(Retry, match=r"^ServerDisconnectedError|^ClientOSError") as caught:
        await ask(f"{closing.url}/closes", method=method)
    assert (caught.value.code, closing.seen, closing.connections) == (ErrorCode.NETWORK_ERROR, [method], 1)


async def test_a_connection_is_used_again_and_closed_before_a_server_would(ask: Ask, closing: Closing) -> None:
    for _ in range(3):
        await ask(f"{closing.url}/fine")
    assert closing.connections == 1
    await until(lambda: closing.closed_by_client == 1, 3 * KEPT_SECONDS)


async def test_each_try_of_a_task_is_one_request_and_so_is_a_breakers_probe(pool: Pool, start: Services, closing: Closing) -> None:
    await start("scheduler")
    worker = await start("worker", http_allow=("127.0.0.1",), breaker_threshold=1, breaker_reset=0.4, breaker_reset_max=0.4)
    payload = json.dumps({"url": f"{closing.url}/closes", "method": "PUT"})
    [task_id] = await given.waiting(pool, ring=False, type="http.request", payload=payload, max_retries=2)
    row = await at_rest(pool, task_id, 60.0)
    assert (row["status"], row["outcomes"].count("failed"), closing.seen) == ("dead_letter", 3, ["PUT"] * 3)
    assert len(worker.logged("circuit breaker opened")) == 3  # two of them after a probe
