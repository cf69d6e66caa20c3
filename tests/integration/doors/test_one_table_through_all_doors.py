"""Each submission of one table, good or bad, comes to the same task or the same errors, whichever door it takes."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client as NatsClient

from support.door_types import BAD, GOOD, UNREADABLE, facts
from support.facts import until
from support.keys import ADMIN_KEY
from support.system import Client, Json, ok

TABLE = {**GOOD, **BAD, **UNREADABLE}
PROPOSAL = re.compile(r"; did you mean [^;]+\?")
NOT_SENT = {"id", "created", "updated", "run_at"}


class Came(NamedTuple):
    """What a submission came to: a status of REST, the facts of the task, and the errors, without proposals."""

    status: int
    task: Json | None
    errors: frozenset[str]


def refused(status: int, errors: list[Json]) -> Came:
    return Came(status, None, frozenset(PROPOSAL.sub("", f"{error['field']}: {error['message']}") for error in errors))


async def by_rest(rest: Client, text: str) -> Came:
    answer = await rest.post("/api/tasks", content=text.encode(), headers={"content-type": "application/json"})
    if answer.status_code in (200, 201):
        return await accepted(rest, answer.json()["id"])
    return refused(answer.status_code, answer.json().get("errors", []))


async def accepted(rest: Client, task_id: str) -> Came:
    """The task, which is cancelled then: another door submits one with the same unique key."""
    found = facts(await rest.task(task_id))
    await rest.cancel(task_id)
    return Came(201, found, frozenset())


@pytest.fixture(scope="module")
def expected() -> dict[str, Came]:
    """What came by REST; the first test fills it."""
    return {}


def different(expected: Mapping[str, Came], found: Mapping[str, Came]) -> dict[str, Any]:
    return {name: (expected[name], came) for name, came in found.items() if came != expected[name]}


async def all_by_rest(rest: Client, expected: dict[str, Came]) -> dict[str, Came]:
    if not expected:
        expected |= {name: await by_rest(rest, text) for name, text in TABLE.items()}
    return expected


async def test_rest_takes_the_good_and_refuses_the_bad(rest: Client, expected: dict[str, Came]) -> None:
    found = await all_by_rest(rest, expected)
    assert {name for name, came in found.items() if came.status == 201} == set(GOOD)
    assert {name for name, came in found.items() if came.status == 400} == set(UNREADABLE)
    assert all(found[name].status == 422 and found[name].errors for name in BAD)


async def test_sql_does_the_same(rest: Client, sql: asyncpg.Connection, expected: dict[str, Came]) -> None:
    async def by_sql(text: str) -> Came:
        try:
            [row] = await sql.fetch("SELECT * FROM waggle.enqueue_many($1::text)", f"[{text}]")
        except asyncpg.PostgresError as error:
            if not (error.sqlstate or "").startswith("WG"):
                raise
            lines = [line.removeprefix("tasks[0].").partition(": ") for line in (error.detail or "").splitlines()]
            return refused(int(error.sqlstate[2:]), [{"field": field, "message": message} for field, _, message in lines])
        return await accepted(rest, str(row["id"]))

    await all_by_rest(rest, expected)
    assert different(expected, {name: await by_sql(text) for name, text in TABLE.items() if text}) == {}


async def test_a_request_over_nats_does_the_same(rest: Client, publisher: NatsClient, expected: dict[str, Came]) -> None:
    async def by_request(text: str) -> Came:
        reply = await publisher.request("waggle.rpc.submit", text.encode(), timeout=5, headers={"X-API-Key": ADMIN_KEY})
        answer, code = json.loads(reply.data), (reply.headers or {}).get("Nats-Service-Error-Code")
        if code is None:
            assert (reply.headers or {})["Waggle-Status"] == "201"
            return await accepted(rest, answer["id"])
        assert answer["status"] == int(code)
        return refused(int(code), answer.get("errors", []))

    await all_by_rest(rest, expected)
    assert different(expected, {name: await by_request(text) for name, text in TABLE.items()}) == {}


async def test_a_published_message_does_the_same(rest: Client, publisher: NatsClient, sql: asyncpg.Connection, expected: dict[str, Came]) -> None:
    """The subject names the type: submissions of no valid type have a test of their own."""
    await all_by_rest(rest, expected)
    sent = {}
    for name, text in TABLE.items():
        kind = type_of(text)
        if kind is not None:
            reply = await publisher.request(f"waggle.submit.shop.{kind}", text.encode(), timeout=5, headers={"Nats-Msg-Id": f"table {len(sent)}"})
            assert "seq" in json.loads(reply.data), reply.data
            sent[f"table {len(sent)}"] = name
    assert len(sent) >= 120

    async def tasks() -> dict[str, str]:
        rows = await sql.fetch("SELECT key, task_ids[1] AS id FROM waggle.idempotency_keys WHERE submitter = 'publisher:shop' AND key LIKE 'table %'")
        return {row["key"]: str(row["id"]) for row in rows}

    async def rejections() -> dict[str, Json]:
        """By message id; other tests leave rejections here too, with and without one."""
        listed = ok(await rest.get("/api/rejected", params={"publisher": "shop", "limit": 1000}))["items"]
        items = [ok(await rest.get(f"/api/rejected/{each['id']}")) for each in listed]
        return {item["headers"]["Nats-Msg-Id"]: item for item in items if item["headers"].get("Nats-Msg-Id") in sent}

    async def all_there() -> bool:
        return len(await tasks()) + len(await rejections()) >= len(sent)

    await until(all_there, 20.0)
    made, rejected = await tasks(), await rejections()
    assert not made.keys() & rejected.keys()
    found = {sent[key]: await accepted(rest, task_id) for key, task_id in made.items()}
    for key, one in rejected.items():
        found[sent[key]] = refused(one["status"], one.get("errors", []))
    assert found.keys() == set(sent.values())
    assert different({name: only_twenty(came) for name, came in expected.items()}, found) == {}


def only_twenty(came: Came) -> Came:
    assert len(came.errors) <= 20  # more are not kept with a rejection
    return came


def type_of(text: str) -> str | None:
    """The type that a text names, if a subject can hold it; door.plain for a text that is no JSON."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "door.plain"
    kind = found.get("type") if isinstance(found, dict) else "door.plain"
    return kind if isinstance(kind, str) and re.fullmatch(r"[a-z]+(\.[a-z]+)+", kind) else None
