"""The life of an API key: made, used, its secret replaced, revoked, expired; in several API processes, and while Postgres is away."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql

from support.access import made
from support.facts import until
from support.keys import ADMIN_KEY, API_SECRET
from support.one_api import prepare
from support.processes import Process
from support.servers import PostgresServer
from support.system import Client, Json, Services, bearer, client_of, ok, told
from waggle.admin import keys as stored_keys
from waggle.admin.keys import NewKey
from waggle.admin.tables import METADATA
from waggle.api_keys import Fingerprints


async def create(api: Client, **fields: object) -> Json:
    return ok(await api.post("/api/auth/keys", json={"comment": "a test", "scopes": ["tasks:read"], **fields}), 201)


async def test_a_key_is_shown_once_and_kept_as_a_fingerprint(api: Client, process: Process) -> None:
    answer = await api.post("/api/auth/keys", json={"comment": " shop ", "scopes": ["tasks:write", "tasks:read"], "queues": ["b", "a"], "expires_in": 60})
    key = ok(answer, 201)
    assert answer.headers["location"] == f"/api/auth/keys/{key['id']}"
    assert re.fullmatch(rf"wgl_{key['id']}_[0-9A-Za-z]{{36}}", key["key"])
    shown = ok(await api.get(f"/api/auth/keys/{key['id']}"))
    assert shown == {name: value for name, value in key.items() if name != "key"}
    assert (shown["comment"], shown["scopes"], shown["queues"], shown["created_by"]) == ("shop", ["tasks:read", "tasks:write"], ["a", "b"], "key:TestAdmin000")
    assert "types" not in shown
    assert timedelta(seconds=50) < datetime.fromisoformat(shown["expires"]) - datetime.now(UTC) < timedelta(seconds=70)
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        row = await connection.fetchrow("SELECT * FROM waggle.api_keys WHERE id = $1", key["id"])
    finally:
        await connection.close()
    assert row is not None
    assert row["secret"] == Fingerprints(API_SECRET).of(key["key"].encode())
    assert key["key"].split("_")[2] not in str(row)


async def test_mistakes_are_told_all_at_once_and_nothing_is_made(api: Client) -> None:
    before = len(ok(await api.get("/api/auth/keys", params={"limit": 1000}))["items"])
    body = {"comment": " ", "scopes": ["task:read", "admin"], "queues": ["No Queue"], "types": ["ok", "-"], "expires_in": -1, "colour": "red"}
    found = told(await api.post("/api/auth/keys", json=body))
    assert set(found) == {"queues", "types", "expires_in", "colour"}
    found = told(await api.post("/api/auth/keys", json={"comment": " ", "scopes": ["task:read", "admin"], "queues": ["a"]}))
    assert found == {
        "comment": "is missing: say what the key is for",
        "scopes[0]": "is no scope; did you mean tasks:read?",
        "queues": "cannot limit a key with the scope admin, who may give themselves another key",
    }
    assert told(await api.post("/api/auth/keys", json={})) == {"comment": "is missing", "scopes": "is missing"}
    assert len(ok(await api.get("/api/auth/keys", params={"limit": 1000}))["items"]) == before


async def test_the_list_has_every_key_on_some_page(api: Client) -> None:
    ids = {(await create(api))["id"] for _ in range(5)}
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = ok(await api.get("/api/auth/keys", params={"limit": 2, **cursor}))
        assert not {"key", "secret"} & set().union(*page["items"])
        found += [key["id"] for key in page["items"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert ids <= set(found)
    assert found == sorted(found, key=str.encode) or len(found) == len(set(found))


async def test_there_is_a_clear_answer_for_keys_that_are_not_there(api: Client) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/replace")):
        for key_id in ("NoSuchKey000", "nope", "NoSuchKey0000"):
            answer = await api.request(method, f"/api/auth/keys/{key_id}{path}")
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no API key with this id")


async def test_only_admins_manage_keys(api: Client, process: Process) -> None:
    async with client_of(process, await made(api, scopes=["tasks:write", "dlq:write", "queues:write"])) as client:
        assert (await client.post("/api/auth/keys", json={"comment": "more", "scopes": ["admin"]})).status_code == 403
        assert (await client.get("/api/auth/keys")).status_code == 403


@pytest.fixture
async def two_apis(start: Services) -> AsyncIterator[tuple[Client, Client]]:
    async with AsyncExitStack() as stack:
        first, second = await start("api"), await start("api")
        yield await stack.enter_async_context(client_of(first)), await stack.enter_async_context(client_of(second))


async def status(client: Client, key: str) -> int:
    return (await client.get("/api/tasks", headers=bearer(key))).status_code


async def test_a_revoked_key_is_refused_by_every_process_within_seconds(two_apis: tuple[Client, Client]) -> None:
    first, second = two_apis
    key = await create(first)
    assert [await status(client, key["key"]) for client in two_apis] == [200, 200]
    revoked = ok(await first.delete(f"/api/auth/keys/{key['id']}"))
    assert await status(first, key["key"]) == 401
    await until(lambda: _refused(second, key["key"]), 4.0, "the other process refuses it")
    assert ok(await first.delete(f"/api/auth/keys/{key['id']}"))["revoked"] == revoked["revoked"]
    assert (await first.post(f"/api/auth/keys/{key['id']}/replace")).status_code == 409


async def _refused(client: Client, key: str) -> bool:
    return await status(client, key) == 401


async def test_two_secrets_live_while_one_is_replaced(two_apis: tuple[Client, Client]) -> None:
    first, _ = two_apis
    old = await create(first)
    new = ok(await first.post(f"/api/auth/keys/{old['id']}/replace", json={"overlap": 3600}))
    assert new["id"] == old["id"]
    assert "previous_until" in new
    assert [await status(client, key["key"]) for client in two_apis for key in (old, new)] == [200] * 4
    newest = ok(await first.post(f"/api/auth/keys/{old['id']}/replace", json={"overlap": 0}))
    for client in two_apis:
        await until(lambda client=client: _refused(client, new["key"]), what="the secret before is refused")  # type: ignore[misc]
        assert await status(client, old["key"]) == 401
        assert await status(client, newest["key"]) == 200


async def test_a_key_expires_by_the_databases_clock(two_apis: tuple[Client, Client]) -> None:
    key = await create(two_apis[0], expires_in=1.0)
    assert await status(two_apis[1], key["key"]) == 200
    await until(lambda: _refused(two_apis[1], key["key"]), what="it expires")
    assert (await two_apis[0].post(f"/api/auth/keys/{key['id']}/replace")).status_code == 409


async def test_tasks_and_idempotency_keys_belong_to_the_key_that_submits(two_apis: tuple[Client, Client], start: Services) -> None:
    api = two_apis[0]
    await prepare(start.settings)
    one, other = await create(api, scopes=["tasks:write"]), await create(api, scopes=["tasks:write"])
    body = {"type": "test.work", "delay": 3600}
    tasks = []
    for key in (one, other, one):
        answer = await until(lambda key=key: _submitted(api, body, key["key"]), 10.0, "the type is known")  # type: ignore[misc]
        tasks.append(answer["id"])
    assert tasks[0] == tasks[2] != tasks[1]
    connection = await asyncpg.connect(start.settings.postgres_url)
    try:
        rows = await connection.fetch("SELECT submitted_by FROM waggle.tasks ORDER BY id")
    finally:
        await connection.close()
    assert {row["submitted_by"] for row in rows} == {f"key:{one['id']}", f"key:{other['id']}"}


async def _submitted(api: Client, body: Json, key: str) -> Json | None:
    answer = await api.post("/api/tasks", json=body, headers={**bearer(key), "idempotency-key": "same"})
    return answer.json() if answer.status_code in (200, 201) else None


async def test_good_keys_stay_good_while_postgres_is_away_and_no_other_becomes_it(own_postgres: PostgresServer, start: Services) -> None:
    async with client_of(await start("api")) as api:
        never_seen = (await create(api))["key"]
        assert await status(api, ADMIN_KEY) == 200
        own_postgres.kill()
        await asyncio.sleep(2.5)  # longer than a key is remembered without a look
        assert (await api.get("/api/auth/me")).status_code == 200
        assert await status(api, never_seen) == 503
        assert await status(api, never_seen[:-1] + ("y" if never_seen.endswith("x") else "x")) == 401
        own_postgres.start()
        await until(lambda: _works(api, never_seen), 15.0, "the key works")


async def _works(api: Client, key: str) -> bool:
    return await status(api, key) == 200


async def test_when_a_key_was_used_is_shown(api: Client, process: Process) -> None:
    key = await create(api)
    assert await status(api, key["key"]) == 200

    async def last_used() -> str | None:
        found: str | None = ok(await api.get(f"/api/auth/keys/{key['id']}")).get("last_used")
        return found

    assert await until(last_used, 30.0, "it is written")


async def test_no_log_line_and_no_metric_holds_a_key(api: Client, process: Process) -> None:
    key = await create(api, comment="canary")
    wrong = key["key"][:17] + "x" * 30 + key["key"][-6:]
    for headers in (bearer(key["key"]), bearer(wrong), {"x-api-key": wrong}, bearer(key["key"] + "x")):
        await api.get("/api/tasks", headers=headers)
    ok(await api.post(f"/api/auth/keys/{key['id']}/replace"))
    said = process.log.read_text() + (await api.get("/metrics")).text
    for text in (key["key"], key["key"].split("_")[2], wrong, ADMIN_KEY, API_SECRET):
        assert text not in said
    assert key["id"] in process.log.read_text()


async def test_the_tables_are_those_of_the_migrations(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """What SQLAlchemy believes of a table is what Postgres has."""
    for name, table in METADATA.tables.items():
        rows = await pool.fetch(
            "SELECT column_name, is_nullable, udt_name FROM information_schema.columns WHERE table_schema = 'waggle' AND table_name = $1", name
        )
        names = {
            "uuid": "UUID",
            "int8": "BIGINT",
            "json": "JSON",
            "bool": "BOOLEAN",
            "int4": "INTEGER",
            "text": "TEXT",
            "_text": "ARRAY",
            "bytea": "BYTEA",
            "timestamptz": "TIMESTAMP WITH TIME ZONE",
        }
        found = {row["column_name"]: (names[row["udt_name"]], row["is_nullable"] == "YES") for row in rows}
        kinds = {column.name: str(column.type.compile(postgresql.dialect())) for column in table.columns}  # type: ignore[no-untyped-call]
        assert found == {column.name: ("ARRAY" if "[]" in kinds[column.name] else kinds[column.name], bool(column.nullable)) for column in table.columns}


async def test_admin_statements_work_in_another_schema_and_behind_quotes(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    stored, key = await stored_keys.create(pool, NewKey(comment='say "hi"; --', scopes=["admin"]), "o'brien", Fingerprints(API_SECRET))
    assert await stored_keys.get(pool, stored.id) == stored
    assert (stored.comment, stored.created_by) == ('say "hi"; --', "o'brien")
    assert await stored_keys.get(pool, "' OR true --") is None
    assert key.text not in repr(stored)


async def test_a_key_that_expires_makes_none_that_lives_longer(api: Client, process: Process) -> None:
    for_an_hour = await create(api, scopes=["admin"], expires_in=3_600)
    async with client_of(process, for_an_hour["key"]) as temporary:
        for longer in ({}, {"expires_in": 3_700}):
            refused = ok(await temporary.post("/api/auth/keys", json={"comment": "for ever", "scopes": ["tasks:read"], **longer}), 403)
            assert refused["detail"].startswith("your own key expires at 20")
        assert (await create(temporary, expires_in=3_500))["expires"] < for_an_hour["expires"]
        everything = ok(await api.get("/api/auth/keys", params={"limit": 1000}))["items"]
        assert "for ever" not in {key["comment"] for key in everything}
    assert "expires" not in await create(api)
