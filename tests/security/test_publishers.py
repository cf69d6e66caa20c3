"""A publisher reaches its own subjects and nothing else; who has none reaches nothing; nobody hears what is for another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats as nats_py
import pytest
from nats.aio.client import Client as NatsClient

from support.facts import until
from support.fleet import FleetSettings
from support.servers import NatsServer
from support.system import Client, Services, client_of, ok
from waggle.admin import publishers
from waggle.bus import connection, topology
from waggle.bus.users import NatsPublisher

PASSWORD = "of the shop"  # of the tests


@asynccontextmanager
async def connected(server: NatsServer, user: str, password: str) -> AsyncIterator[tuple[NatsClient, list[str]]]:
    """A client, and what the server refused."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    options = {"inbox_prefix": f"_INBOX.{user}", "error_cb": on_error, "allow_reconnect": False}
    client = await nats_py.connect(f"nats://127.0.0.1:{server.port}", user=user, password=password, **options)
    try:
        yield client, refused
    finally:
        await client.close()


@pytest.fixture
async def let_in(nats: NatsServer, settings: FleetSettings) -> NatsServer:
    """The server with the publishers `shop` and `ear`, who may hear events, and all streams."""
    async with connection.connection(settings, "test") as bus:
        await until(lambda: bus.connected)
        await topology.ensure(bus, settings, ["default"])
    hashed = publishers.hashed(PASSWORD)
    await asyncio.to_thread(nats.let_in, NatsPublisher("shop", hashed), NatsPublisher("ear", hashed, events=True))
    return nats


async def test_a_publisher_reaches_its_own_subjects_and_nothing_else(let_in: NatsServer) -> None:
    async with connected(let_in, "publisher-shop", PASSWORD) as (client, refused):
        ack = json.loads((await client.request("waggle.submit.shop.email.send", b"{}", timeout=3)).data)
        assert ack["stream"] == "WAGGLE_SUBMIT"
        for subject in (
            "waggle.submit.other.email.send",
            "waggle.submit.shopping.email.send",
            "waggle.work.default.low",
            "waggle.rpc.dlq.retry",
            "waggle.rejected.shop.email.send",
            "waggle.event.completed.1.email",
            "waggle.settled",
            "$JS.API.STREAM.INFO.WAGGLE_SUBMIT",
            "$JS.API.STREAM.DELETE.WAGGLE_SUBMIT",
            "$JS.API.CONSUMER.MSG.NEXT.WAGGLE_SUBMIT.ingest",
        ):
            before = len(refused)
            await client.publish(subject, b"{}")
            await client.flush()
            await until(lambda before=before: len(refused) == before + 1, what=subject)  # type: ignore[misc]
            assert "permissions violation" in refused[-1].lower(), refused[-1]


async def test_nobody_hears_what_is_for_another(let_in: NatsServer) -> None:
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(message.subject)  # type: ignore[attr-defined]

    async with (
        connected(let_in, "publisher-shop", PASSWORD) as (shop, refused),
        connected(let_in, "publisher-ear", PASSWORD) as (ear, _),
        connected(let_in, "operator", let_in.url.split(":")[2].partition("@")[0]) as (operator, _),
    ):
        for subject in (">", "_INBOX.>", "_INBOX.publisher-ear.>", "waggle.>", "waggle.event.>", "waggle.submit.>", "$JS.>"):
            await shop.subscribe(subject, cb=hear)
        await shop.flush()
        await until(lambda: len(refused) == 7)
        await ear.request("waggle.submit.ear.email.send", b"{}", timeout=3)  # its answer goes to an inbox of its own
        await operator.publish("waggle.work.default.low", b"x")
        await operator.request("waggle.event.completed.1.email.send", b"{}", timeout=3)  # stored; a flush may overtake what was published
        found: list[str] = []

        async def note(message: object) -> None:
            found.append(message.subject)  # type: ignore[attr-defined]

        async def told() -> list[str]:
            await operator.publish("waggle.event.completed.2.email.send", b"{}")
            return found

        await ear.subscribe("waggle.event.>", cb=note)
        await until(told)
        assert set(found) == {"waggle.event.completed.2.email.send"}
        assert heard == []


async def answer(server: NatsServer, user: str, password: str) -> str:
    """What the server says to who signs in: PONG, or why not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        await reader.readline()  # INFO
        writer.write(f"CONNECT {json.dumps({'verbose': False, 'user': user, 'pass': password})}\r\nPING\r\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_wrong_password_and_a_removed_publisher_are_refused(let_in: NatsServer) -> None:
    assert await answer(let_in, "publisher-shop", PASSWORD) == "PONG"
    assert await answer(let_in, "publisher-shop", "wrong") == "-ERR 'Authorization Violation'"
    await asyncio.to_thread(let_in.let_in, NatsPublisher("ear", publishers.hashed(PASSWORD)))
    assert await answer(let_in, "publisher-shop", PASSWORD) == "-ERR 'Authorization Violation'"


async def test_passwords_are_shown_once_and_kept_as_a_hash_and_acts_are_in_the_trail(start: Services, database: str) -> None:
    api = await start("api")
    async with client_of(api) as client:
        made = ok(await client.post("/api/publishers", json={"name": "shop", "queues": ["mail"], "types": ["email.send"]}), 201)
        assert (made["user"], len(made["password"]) >= 32) == ("publisher-shop", True)
        assert (await client.post("/api/publishers", json={"name": "shop"})).status_code == 409
        rotated = ok(await client.post("/api/publishers/shop/rotate"))
        assert rotated["password"] != made["password"]
        text = ok(await client.get("/api/nats/publishers"))["text"]
        [hashed] = [line.split('"')[1] for line in text.splitlines() if "password:" in line]
        assert publishers.fits(rotated["password"], hashed)
        assert not publishers.fits(made["password"], hashed)
        for body in (text, (await client.get("/api/publishers")).text, (await client.get("/api/audit")).text):
            assert made["password"] not in body
            assert rotated["password"] not in body
        assert "password" not in (await client.get("/api/publishers")).text
        assert ok(await client.delete("/api/publishers/shop"))["name"] == "shop"
        assert (await client.delete("/api/publishers/shop")).status_code == 404
        await wrong_names(client)
        trail = [entry["action"] for entry in ok(await client.get("/api/audit"))["items"]]
        assert {"publisher.create", "publisher.rotate", "publisher.remove"} <= set(trail)


async def wrong_names(client: Client) -> None:
    for name in ("Shop", "a.b", "a b", ">", "*", "", "x" * 33, 'a"b', "a;}"):
        assert (await client.post("/api/publishers", json={"name": name})).status_code == 422, name
