"""While two versions of a type are served, each door takes the payloads of both, and of no other; after them, those of the last one."""

import json
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from support.facts import until
from support.given import serves_version
from support.keys import ADMIN_KEY
from support.processes import Process
from support.system import Client
from waggle.store import catalogue, leases
from waggle.store import postgres as store
from waggle.store.catalogue import TaskType, version_of

OLD = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}'
NEW = '{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string","writeOnly":true}},"required":["a"],"additionalProperties":false}'
A, B, NEITHER = {"a": 1}, {"a": 1, "b": "secret"}, {"c": 1}

Take = Callable[[str, dict[str, object]], Awaitable[bool]]


@pytest.fixture(params=["rest", "rpc", "sql"])
def take(request: pytest.FixtureRequest, rest: Client, publisher: NatsClient, sql: asyncpg.Connection) -> Take:
    """Submit by one of the doors; whether it was taken."""

    async def by_rest(name: str, payload: dict[str, object]) -> bool:
        return (await rest.post("/api/tasks", json={"type": name, "payload": payload})).status_code == 201

    async def by_rpc(name: str, payload: dict[str, object]) -> bool:
        body = json.dumps({"type": name, "payload": payload}).encode()
        answer = await publisher.request("waggle.rpc.submit", body, timeout=5, headers={"X-API-Key": ADMIN_KEY})
        return (answer.headers or {})["Waggle-Status"] == "201"

    async def by_sql(name: str, payload: dict[str, object]) -> bool:
        try:
            await sql.fetchval("SELECT waggle.enqueue($1, $2::text)", name, json.dumps(payload))
        except asyncpg.PostgresError as error:
            return error.sqlstate != "WG422"
        return True

    return {"rest": by_rest, "rpc": by_rpc, "sql": by_sql}[request.param]


async def test_each_door_takes_what_any_live_version_takes(doors: Process, take: Take, rest: Client) -> None:
    name = f"skew.{uuid4().hex[:8]}"

    async def taken() -> list[bool]:
        return [await take(name, payload) for payload in (A, B, NEITHER)]

    async with store.pool(doors.settings, "test", 1) as pool:
        await serves_version(pool, f"{name}-old", OLD, task_type=name)
        await until(lambda: taken_is(taken, [True, False, False]), 5)
        await serves_version(pool, f"{name}-new", NEW, task_type=name)
        await until(lambda: taken_is(taken, [True, True, False]), 5)
        await serves_version(pool, f"{name}-old-again", OLD, task_type=name)
        found = (await rest.get(f"/api/types/{name}")).json()
        assert (found["version"], [(each["version"], each["workers"]) for each in found["versions"]]) == (
            version_of(NEW),
            [(version_of(NEW), [f"{name}-new"]), (version_of(OLD), [f"{name}-old-again", f"{name}-old"])],
        )
        await leases.leave(pool, f"{name}-new")
        await until(lambda: taken_is(taken, [True, False, False]), 5)
        for worker in (f"{name}-old", f"{name}-old-again"):
            await leases.leave(pool, worker)
        assert await taken() == [True, False, False]


async def test_what_a_version_of_before_hides_stays_hidden(doors: Process, rest: Client) -> None:
    name = f"hides.{uuid4().hex[:8]}"
    async with store.pool(doors.settings, "test", 1) as pool:
        await catalogue.announce(pool, [TaskType(name, "default", 3, 10.0, True, NEW)], ["default"])
        task = await rest.submit(name, payload=B)
        await catalogue.announce(pool, [TaskType(name, "default", 3, 10.0, True, OLD)], ["default"])

        async def refused() -> bool:
            return (await rest.post("/api/tasks", json={"type": name, "payload": B})).status_code == 422

        await until(refused, 5)
    assert (await rest.task(task))["payload"] == {"a": 1, "b": "***"}


async def test_a_type_that_nobody_announced_is_not_found(rest: Client) -> None:
    answer = await rest.get("/api/types/door.mial")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no worker has announced a type with this name; did you mean door.mail?")


async def taken_is(taken: Callable[[], Awaitable[list[bool]]], expected: list[bool]) -> bool:
    return await taken() == expected
