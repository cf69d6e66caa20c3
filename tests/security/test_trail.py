"""The audit trail: it holds every administrative act, nobody can change it, and a row that was changed or is missing shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from support.facts import until
from support.one_api import prepare
from support.processes import Process
from support.system import Client, Json, Services, bearer, client_of, ok
from waggle.admin.trail import Trail
from waggle.store import postgres
from waggle_api.edge.blocking import Blocking

PASSWORD = "correct horse battery staple"


@asynccontextmanager
async def database(process: Process) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


async def entries(api: Client, **filters: Any) -> list[Json]:
    found: list[Json] = ok(await api.get("/api/audit", params={"limit": 1000, **filters}))["items"]
    return found


@pytest.fixture
async def own(start: Services) -> AsyncIterator[tuple[Process, Client]]:
    """An API of this test's own, with a trail of its own."""
    await prepare(start.settings)
    process = await start("api")
    async with client_of(process) as client:
        yield process, client


async def test_every_administrative_act_is_in_it_with_who_what_and_from_where(own: tuple[Process, Client]) -> None:
    process, api = own
    ok(await api.post("/api/users", json={"name": "anna", "role": "viewer", "password": PASSWORD}, headers={"x-request-id": "made-anna"}), 201)
    ok(await api.patch("/api/users/anna", json={"role": "operator", "password": PASSWORD + "!"}))
    tokens = ok(await api.post("/api/auth/login", json={"name": "anna", "password": PASSWORD + "!"}))
    await api.post("/api/auth/password", json={"password": PASSWORD + "!", "new_password": PASSWORD}, headers=bearer(tokens["access_token"]))
    first = ok(await api.post("/api/auth/login", json={"name": "anna", "password": PASSWORD}))
    for _ in range(2):
        second = ok(await api.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}))
    ok(await api.post("/api/auth/refresh", json={"refresh_token": second["refresh_token"]}))
    await api.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    third = ok(await api.post("/api/auth/login", json={"name": "anna", "password": PASSWORD}))
    await api.post("/api/auth/logout", headers=bearer(third["access_token"]))
    key = ok(await api.post("/api/auth/keys", json={"comment": "x", "scopes": ["tasks:read"]}), 201)
    ok(await api.post(f"/api/auth/keys/{key['id']}/replace"))
    ok(await api.delete(f"/api/auth/keys/{key['id']}"))
    for verb in ("pause", "resume", "purge"):
        ok(await api.post(f"/api/queues/default/{verb}"))
    ok(await api.post("/api/blocks", json={"address": "203.0.113.7", "reason": "a test"}), 201)
    ok(await api.delete("/api/blocks/203.0.113.7"))
    ok(await api.delete("/api/users/anna"))

    found = list(reversed(await entries(api)))
    assert [entry["action"] for entry in found] == [
        "user.create",
        "user.change",
        "session.begin",
        "user.password",
        "session.begin",
        "session.reused",
        "session.begin",
        "session.end",
        "key.create",
        "key.replace",
        "key.revoke",
        "queue.pause",
        "queue.resume",
        "queue.purge",
        "block.add",
        "block.lift",
        "user.delete",
    ]
    assert [entry["seq"] for entry in found] == list(range(1, len(found) + 1))
    made = found[0]
    assert (made["actor"], made["target"], made["address"], made["request_id"]) == ("key:TestAdmin000", "anna", "127.0.0.1", "made-anna")
    assert made["after"] == {"role": "viewer"}
    assert found[1]["before"] == {"role": "viewer", "disabled": False}
    assert found[1]["after"] == {"role": "operator", "disabled": False, "password": True}
    assert {entry["actor"] for entry in found if entry["action"].startswith("session.")} == {"user:anna"}
    assert PASSWORD not in str(found)
    assert [entry["seq"] for entry in await entries(api, action="user.create", target="anna")] == [1]
    assert await entries(api, actor="nobody") == []
    page = ok(await api.get("/api/audit", params={"limit": 3}))
    rest = ok(await api.get("/api/audit", params={"limit": 1000, "cursor": page["next_cursor"]}))
    assert page["items"] + rest["items"] == list(reversed(found))
    checked = ok(await api.get("/api/audit/verify"))
    assert checked == {"entries": len(found), "fits": True, "last_hash": found[-1]["hash"]}
    assert process.logged("audit", seq=1, actor="key:TestAdmin000", action="user.create", target="anna", hash=made["hash"])


async def test_an_act_that_fails_leaves_no_entry(own: tuple[Process, Client]) -> None:
    _, api = own
    ok(await api.post("/api/users", json={"name": "only", "role": "admin", "password": PASSWORD}), 201)
    before = await entries(api)
    assert (await api.delete("/api/users/only")).status_code == 409
    assert (await api.post("/api/users", json={"name": "only", "role": "admin", "password": PASSWORD})).status_code == 409
    assert (await api.delete("/api/blocks/203.0.113.9")).status_code == 404
    assert await entries(api) == before


@pytest.mark.parametrize("change", ["UPDATE waggle.audit_trail SET actor = 'nobody'", "DELETE FROM waggle.audit_trail", "TRUNCATE waggle.audit_trail"])
async def test_the_database_refuses_every_change_of_it(own: tuple[Process, Client], change: str) -> None:
    process, api = own
    ok(await api.post("/api/users", json={"name": "anna", "role": "viewer", "password": PASSWORD}), 201)
    async with database(process) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only added to"):
            await connection.execute(change)


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE waggle.audit_trail SET actor = 'somebody' WHERE seq = 2", 2),
        ('UPDATE waggle.audit_trail SET after = \'{"role": "admin"}\' WHERE seq = 3', 3),
        ("UPDATE waggle.audit_trail SET at = at - interval '1 s' WHERE seq = 1", 1),
        ("DELETE FROM waggle.audit_trail WHERE seq = 2", 2),
        ("DELETE FROM waggle.audit_trail WHERE seq = 1", 1),
        ("UPDATE waggle.audit_trail SET hash = sha256('x') WHERE seq = 4", 4),
    ],
)
async def test_what_an_owner_of_the_database_changes_shows(own: tuple[Process, Client], change: str, broken_at: int) -> None:
    """Who owns the table can switch its triggers off. The chain is under a secret that is not in the database."""
    process, api = own
    for number in range(4):
        ok(await api.post("/api/users", json={"name": f"user-{number}", "role": "viewer", "password": PASSWORD}), 201)
    async with database(process) as connection:
        await connection.execute("ALTER TABLE waggle.audit_trail DISABLE TRIGGER USER")
        await connection.execute(change)
    checked = ok(await api.get("/api/audit/verify"))
    assert (checked["fits"], checked["broken_at"], checked["entries"]) == (False, broken_at, broken_at - 1)


async def test_acts_at_once_are_one_chain(own: tuple[Process, Client], start: Services) -> None:
    _, api = own
    async with client_of(await start("api")) as other:
        made = [client.post("/api/auth/keys", json={"comment": "x", "scopes": ["tasks:read"]}) for client in (api, other) for _ in range(20)]
        assert {answer.status_code for answer in await asyncio.gather(*made)} == {201}
    assert ok(await api.get("/api/audit/verify"))["fits"]
    assert len(await entries(api, action="key.create")) == 40


async def test_an_address_is_blocked_after_repeated_failures_in_all_processes_and_working_keys_go_on(start: Services) -> None:
    await prepare(start.settings)
    one, two = await start("api", api_block_failures=5, api_proxies=1), await start("api", api_proxies=1)
    attacker, other = {"x-forwarded-for": "6.6.6.6, 203.0.113.66"}, {"x-forwarded-for": "203.0.113.9"}
    async with client_of(one) as first, client_of(two) as second, client_of(one, None) as stranger:
        ok(await first.post("/api/users", json={"name": "anna", "role": "viewer", "password": PASSWORD}), 201)
        login = {"name": "anna", "password": PASSWORD}
        for client in (first, second):
            ok(await client.get("/api/tasks", headers=attacker))  # its key works
        for number in range(5):
            forged = {"x-forwarded-for": f"1.2.3.{number}, 203.0.113.66"}
            assert (await stranger.post("/api/auth/login", json={**login, "password": "a wrong password"}, headers=forged)).status_code == 401
        blocked = await stranger.post("/api/auth/login", json=login, headers=attacker)
        assert (blocked.status_code, blocked.json()["code"]) == (403, "unauthorized")
        assert 0 < int(blocked.headers["retry-after"]) <= 900
        ok(await stranger.post("/api/auth/login", json=login, headers=other))
        await until(lambda: _blocked(second, login, attacker), 5.0, "the other process blocks it, too")
        for client in (first, second):
            ok(await client.get("/api/tasks", headers=attacker))
        fresh = ok(await first.post("/api/auth/keys", json={"comment": "x", "scopes": ["tasks:read"]}), 201)["key"]
        assert (await stranger.get("/api/tasks", headers={**attacker, **bearer(fresh)})).status_code == 401
        ok(await stranger.get("/api/tasks", headers={**other, **bearer(fresh)}))
        (listed,) = ok(await second.get("/api/blocks"))["items"]
        assert (listed["address"], listed["created_by"], listed["reason"]) == ("203.0.113.66", "waggle api", "repeated failures to sign in")
        assert (await entries(first, action="block.add"))[0]["target"] == "203.0.113.66"
        ok(await first.delete("/api/blocks/203.0.113.66"))
        ok(await stranger.post("/api/auth/login", json=login, headers=attacker))
        assert ok(await first.get("/api/blocks"))["items"] == []


async def _blocked(client: Client, login: Json, headers: dict[str, str]) -> bool:
    return (await client.post("/api/auth/login", json=login, headers=headers)).status_code == 403


async def test_a_block_counts_from_the_failure_on_whatever_a_look_at_the_blocks_of_all_has_read(process: Process) -> None:
    """Its row is not written yet: the look finds none. The row cannot be written: the next look writes it."""
    async with database(process) as other, postgres.pool(process.settings, "test", 2) as pool:
        blocking = Blocking(pool, Trail(process.settings.api_secret), 2, 60.0)
        async with other.transaction():
            await other.execute("LOCK TABLE waggle.blocked_addresses IN SHARE MODE")  # it may be read, not written
            await blocking.failed("198.51.100.7", "one")
            writing = asyncio.create_task(blocking.failed("198.51.100.7", "two"))
            await until(lambda: blocking.is_blocked("198.51.100.7"))
            await blocking.look()
            assert blocking.is_blocked("198.51.100.7")
        await writing
        await blocking.look()
        assert blocking.is_blocked("198.51.100.7")
        async with other.transaction():
            await other.execute("LOCK TABLE waggle.blocked_addresses IN SHARE MODE")
            await asyncio.gather(blocking.failed("198.51.100.8", "one"), blocking.failed("198.51.100.8", "two"))  # it gives up: lock_timeout
            await blocking.look()
            assert blocking.is_blocked("198.51.100.8")
        await blocking.look()
        written = "SELECT array_agg(host(address::inet) ORDER BY address) FROM waggle.blocked_addresses WHERE address LIKE '198.51.100.%'"
        assert await other.fetchval(written) == ["198.51.100.7", "198.51.100.8"]
        blocking.lift("198.51.100.7")
        assert not blocking.is_blocked("198.51.100.7")
        await other.execute("DELETE FROM waggle.blocked_addresses WHERE address LIKE '198.51.100.%'")
        await blocking.look()
        assert not blocking.is_blocked("198.51.100.8")


async def test_wrong_keys_block_an_address_and_missing_or_expired_ones_do_not(start: Services) -> None:
    process = await start("api", api_block_failures=3)
    async with client_of(process) as api, client_of(process, None) as stranger:
        for _ in range(10):
            assert (await stranger.get("/api/tasks")).status_code == 401
        assert ok(await api.get("/api/blocks"))["items"] == []
        for _ in range(3):
            assert (await stranger.get("/api/tasks", headers=bearer("wgl_nonsense"))).status_code == 401
        assert [block["address"] for block in ok(await api.get("/api/blocks"))["items"]] == ["127.0.0.1"]
        ok(await api.get("/api/tasks"))


async def test_blocks_of_networks_and_mistakes(api: Client) -> None:
    made = ok(await api.post("/api/blocks", json={"address": "2001:db8::7", "seconds": 60}), 201)
    assert made["address"] == "2001:db8::/64"
    longer = ok(await api.post("/api/blocks", json={"address": "2001:db8::8", "seconds": 600}), 201)
    assert longer["until"] > made["until"]
    assert ok(await api.delete("/api/blocks/2001:db8::"))["address"] == "2001:db8::/64"
    for body in ({}, {"address": "example.com"}, {"address": "10.0.0.0/8"}):
        assert (await api.post("/api/blocks", json=body)).status_code == 422
    assert (await api.post("/api/blocks", json={"address": "203.0.113.7", "seconds": -1})).status_code == 422
