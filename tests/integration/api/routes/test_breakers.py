"""`/api/breakers`: what the fleet knows of its circuit breakers, and their reset by an operator."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from support.processes import Process
from support.servers import NatsServer
from support.system import Client, Services, client_of, ok
from waggle.bus import breakers as bucket
from waggle.bus.breakers import Record, State
from waggle.bus.connection import Bus

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OPEN = Record("smtp", State.OPEN, failures=5, trips=2, again=1, opened_at=NOON, retry_at=NOON + timedelta(seconds=60), error="ConnectionError: refused")


@pytest.fixture
async def api(lanes: None, start: Services) -> Process:
    return await start("api")


@pytest.fixture
async def client(api: Process) -> AsyncIterator[Client]:
    async with client_of(api) as opened:
        yield opened


async def test_they_are_listed_by_name_shown_and_reset(client: Client, bus: Bus, api: Process) -> None:
    assert ok(await client.get("/api/breakers")) == {"items": []}
    revision = await bucket.put(bus, OPEN, 0)
    await bucket.put(bus, Record("http:a.example:8080", State.CLOSED), 0)

    [host, smtp] = ok(await client.get("/api/breakers"))["items"]
    assert {**host, "updated": ""} == {"name": "http:a.example:8080", "state": "closed", "failures": 0, "trips": 0, "updated": ""}
    assert {**smtp, "updated": ""} == {
        "name": "smtp", "state": "open", "failures": 5, "trips": 2, "updated": "",
        "opened_at": "2026-01-31T12:00:00Z", "retry_at": "2026-01-31T12:01:00Z", "error": "ConnectionError: refused",
    }  # fmt: skip
    assert ok(await client.get("/api/v1/breakers/smtp")) == smtp
    assert ok(await client.get("/api/breakers/http:a.example:8080")) == host

    for _ in range(2):
        closed = ok(await client.post("/api/breakers/smtp/reset"))
        assert {**closed, "updated": ""} == {"name": "smtp", "state": "closed", "failures": 0, "trips": 2, "updated": ""}
    found = await bucket.entry(bus, "smtp")
    assert found
    assert found.revision > revision
    assert [line["was"] for line in api.logged("circuit breaker reset", breaker="smtp", by="key:TestAdmin000")] == ["open", "closed"]


async def test_an_unknown_name_is_not_found(client: Client, bus: Bus) -> None:
    await bucket.put(bus, OPEN, 0)
    for answer in (await client.get("/api/breakers/smpt"), await client.post("/api/breakers/smpt/reset")):
        problem = ok(answer, 404)
        assert (problem["code"], problem["detail"]) == ("not_found", "there is no circuit breaker with this name; did you mean smtp?")
    assert ok(await client.get("/api/breakers", params={"state": "open"}), 422)["errors"][0]["field"] == "state"


async def test_a_reset_wins_against_workers_that_write_at_the_same_time(client: Client, bus: Bus) -> None:
    revision = await bucket.put(bus, OPEN, 0)

    async def write() -> None:
        nonlocal revision
        for _ in range(50):
            try:
                revision = await bucket.put(bus, OPEN, revision)
            except bucket.Changed:
                return

    _, answer = await asyncio.gather(write(), client.post("/api/breakers/smtp/reset"))
    assert ok(answer)["state"] == "closed"
    found = await bucket.entry(bus, "smtp")
    assert found
    assert found.record.state is State.CLOSED


async def test_without_nats_breakers_are_unavailable(client: Client, nats: NatsServer) -> None:
    nats.kill()
    answers = await client.get("/api/breakers"), await client.get("/api/breakers/smtp"), await client.post("/api/breakers/smtp/reset")
    for answer in answers:
        assert ok(answer, 503)["code"] == "service_unavailable"
        assert answer.headers["retry-after"] == "2"
