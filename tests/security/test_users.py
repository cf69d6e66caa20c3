"""Users: signing in and out, refreshing, roles, and that an answer tells nobody which names exist."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from support.access import PASSWORD, user, without_id
from support.facts import until
from support.metrics import counted
from support.one_api import prepare
from support.processes import Process
from support.system import Client, Json, Services, bearer, client_of, ok, told
from waggle.scopes import ROLES, Role


async def login(client: Client, name: str, password: str = PASSWORD) -> Json:
    return ok(await client.post("/api/auth/login", json={"name": name, "password": password}))


async def me(client: Client, tokens: Json) -> int:
    return (await client.get("/api/auth/me", headers=bearer(tokens["access_token"]))).status_code


@pytest.fixture
async def stranger(process: Process) -> AsyncIterator[Client]:
    """A client without a key."""
    async with client_of(process, None) as client:
        yield client


@pytest.mark.parametrize("role", Role)
async def test_a_role_allows_what_it_says(api: Client, stranger: Client, role: Role) -> None:
    await user(api, f"role-{role}", role)
    tokens = await login(stranger, f"role-{role}")
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    who = ok(await stranger.get("/api/auth/me", headers=bearer(tokens["access_token"])))
    assert who == {"name": f"user:role-{role}", "scopes": sorted(ROLES[role])}
    for path, allowed in (("/api/tasks", True), ("/api/users", role is Role.ADMIN), ("/api/auth/keys", role is Role.ADMIN)):
        assert (await stranger.get(path, headers=bearer(tokens["access_token"]))).status_code == (200 if allowed else 403)
    submitted = await stranger.post("/api/tasks", json={"type": "test.work", "delay": 3600}, headers=bearer(tokens["access_token"]))
    assert submitted.status_code == (403 if role is Role.VIEWER else 201)


async def test_who_does_not_exist_and_who_mistypes_get_the_same_answer_in_about_the_same_time(api: Client, stranger: Client) -> None:
    await user(api, "timing")
    ok(await api.patch("/api/users/timing", json={"disabled": False}))
    await user(api, "asleep")
    ok(await api.patch("/api/users/asleep", json={"disabled": True}))
    tries = {"wrong password": ("timing", "wrong password!"), "no such user": ("nobody-at-all", "wrong password!"), "disabled": ("asleep", PASSWORD)}
    found, seconds = {}, {name: [] for name in tries}
    for _ in range(5):
        for name, (who, password) in tries.items():
            began = time.perf_counter()
            answer = await stranger.post("/api/auth/login", json={"name": who, "password": password})
            seconds[name].append(time.perf_counter() - began)
            found[name] = without_id(answer)
    assert found["wrong password"] == found["no such user"] == found["disabled"]
    assert found["wrong password"][0] == 401
    slowest, quickest = (pick(statistics.median(of) for of in seconds.values()) for pick in (max, min))
    assert quickest > slowest / 3, seconds


async def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_session(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "refresher")
    first = await login(stranger, "refresher")
    second = ok(await stranger.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}))
    again = ok(await stranger.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}))  # its answer was lost
    assert again["refresh_token"] == second["refresh_token"] != first["refresh_token"]
    third = ok(await stranger.post("/api/auth/refresh", json={"refresh_token": second["refresh_token"]}))
    assert await me(stranger, third) == 200
    reused = await stranger.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert reused.status_code == 401
    assert (await stranger.post("/api/auth/refresh", json={"refresh_token": third["refresh_token"]})).status_code == 401
    assert await me(stranger, third) == 401
    assert process.logged("audit", action="session.reused", actor="user:refresher")


async def test_an_old_refresh_token_is_no_lost_answer_after_a_while(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "late")
    first = await login(stranger, "late")
    ok(await stranger.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}))
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        await connection.execute("UPDATE waggle.sessions SET refreshed = now() - interval '31 s' WHERE generation = 1")
    finally:
        await connection.close()
    assert (await stranger.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})).status_code == 401


async def test_two_refreshes_at_once_leave_one_session_alive(api: Client, stranger: Client) -> None:
    await user(api, "two-tabs")
    tokens = await login(stranger, "two-tabs")
    for _ in range(3):
        asked = [stranger.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]}) for _ in range(8)]
        found = [ok(answer) for answer in await asyncio.gather(*asked)]
        assert len({each["refresh_token"] for each in found}) == 1
        tokens = found[0]
        assert await me(stranger, tokens) == 200


async def test_signing_out_ends_one_session_or_all(api: Client, stranger: Client) -> None:
    await user(api, "leaver")
    one, two, three = [await login(stranger, "leaver") for _ in range(3)]
    assert (await stranger.post("/api/auth/logout", headers=bearer(one["access_token"]))).status_code == 204
    assert [await me(stranger, tokens) for tokens in (one, two, three)] == [401, 200, 200]
    assert (await stranger.post("/api/auth/refresh", json={"refresh_token": one["refresh_token"]})).status_code == 401
    assert (await stranger.post("/api/auth/logout", json={"everywhere": True}, headers=bearer(two["access_token"]))).status_code == 204
    assert [await me(stranger, tokens) for tokens in (two, three)] == [401, 401]
    assert (await api.post("/api/auth/logout")).status_code == 409  # an API key is no session


async def test_sessions_that_are_over_do_not_pile_up(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "often")
    for _ in range(5):
        tokens = await login(stranger, "often")
        await stranger.post("/api/auth/logout", headers=bearer(tokens["access_token"]))
    kept, left = await login(stranger, "often"), await login(stranger, "often")
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        count = await connection.fetchval("SELECT count(*) FROM waggle.sessions s JOIN waggle.users u ON u.id = s.user_id WHERE u.name = 'often'")
    finally:
        await connection.close()
    assert count == 2
    assert [await me(stranger, tokens) for tokens in (kept, left)] == [200, 200]


async def test_changes_of_a_user_count_at_once(api: Client, stranger: Client) -> None:
    await user(api, "changing", "admin")
    tokens = await login(stranger, "changing")
    ok(await api.patch("/api/users/changing", json={"role": "viewer"}))
    assert (await stranger.get("/api/users", headers=bearer(tokens["access_token"]))).status_code == 403
    assert await me(stranger, tokens) == 200
    ok(await api.patch("/api/users/changing", json={"disabled": True}))
    assert await me(stranger, tokens) == 401
    ok(await api.patch("/api/users/changing", json={"disabled": False, "password": "another password!"}))
    assert (await stranger.post("/api/auth/login", json={"name": "changing", "password": PASSWORD})).status_code == 401
    tokens = await login(stranger, "Changing", "another password!")
    changed = await stranger.post(
        "/api/auth/password", json={"password": "another password!", "new_password": PASSWORD}, headers=bearer(tokens["access_token"])
    )
    assert changed.status_code == 204
    assert await me(stranger, tokens) == 401
    tokens = await login(stranger, "changing")
    ok(await api.delete("/api/users/changing"))
    assert await me(stranger, tokens) == 401
    assert (await api.get("/api/users/changing")).status_code == 404


async def test_every_failure_is_counted_once(start: Services) -> None:
    await prepare(start.settings)
    process = await start("api")
    async with client_of(process) as api, client_of(process, None) as stranger:
        await user(api, "counted")
        wrong = [
            await stranger.get("/api/tasks"),
            await stranger.get("/api/tasks", headers=bearer("wgl_nonsense")),
            await stranger.post("/api/auth/login", json={"name": "counted", "password": "a wrong password"}),
            await stranger.post("/api/auth/refresh", json={"refresh_token": "wgr_nonsense"}),
        ]
        assert {answer.status_code for answer in wrong} == {401}
        await login(stranger, "counted")
        assert await counted(process, "auth_failures_total") == {"": len(wrong)}


async def test_other_processes_notice_within_seconds(start: Services) -> None:
    await prepare(start.settings)
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(client_of(await start("api"))) for _ in range(2)]
        await user(first, "elsewhere")
        tokens = await login(second, "elsewhere")
        assert [await me(client, tokens) for client in (first, second)] == [200, 200]
        assert (await first.post("/api/auth/logout", headers=bearer(tokens["access_token"]))).status_code == 204
        await until(lambda: _refused(second, tokens), 4.0, "the other process refuses it")


async def _refused(client: Client, tokens: Json) -> bool:
    return await me(client, tokens) == 401


async def test_one_admin_always_stays(start: Services) -> None:
    async with client_of(await start("api")) as api:
        await user(api, "only", "admin")
        for answer in (
            await api.patch("/api/users/only", json={"role": "viewer"}),
            await api.patch("/api/users/only", json={"disabled": True}),
            await api.delete("/api/users/only"),
        ):
            assert (answer.status_code, answer.json()["detail"]) == (409, "nobody could manage users any more: make another user an admin first")
        await user(api, "second", "admin")
        both = await asyncio.gather(api.delete("/api/users/only"), api.delete("/api/users/second"))
        assert sorted(answer.status_code for answer in both) == [200, 409]


async def test_users_who_are_no_admins_change_although_there_is_no_admin(start: Services) -> None:
    """Keys may be all that there is for admins."""
    async with client_of(await start("api")) as api:
        await user(api, "anna")
        ok(await api.patch("/api/users/anna", json={"role": "operator"}))
        ok(await api.patch("/api/users/anna", json={"role": "admin"}))
        assert (await api.patch("/api/users/anna", json={"role": "viewer"})).status_code == 409
        await user(api, "berta")
        ok(await api.delete("/api/users/berta"))


async def test_mistakes_are_told_all_at_once(api: Client) -> None:
    found = told(await api.post("/api/users", json={"name": "An Na", "role": "boss", "password": "short"}))
    assert set(found) == {"name", "role", "password"}
    assert told(await api.patch("/api/users/nobody-here", json={})).keys() == {"role"}
    await user(api, "taken")
    again = await api.post("/api/users", json={"name": "taken", "role": "viewer", "password": PASSWORD})
    assert (again.status_code, again.json()["detail"]) == (409, "another user has this name")
    for path in ("/api/users/nobody-here", "/api/users/no%20name", "/api/users/%27%20OR%201=1"):
        assert (await api.get(path)).status_code == 404


async def test_no_password_and_no_token_is_in_a_log_or_in_the_database(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "canary-user")
    tokens = await login(stranger, "canary-user")
    await stranger.post("/api/auth/login", json={"name": "canary-user", "password": "canary-wrong-password"})
    await stranger.post("/api/auth/login", json={"name": "canary-in-the-wrong-field", "password": "x"})
    said = process.log.read_text() + (await api.get("/metrics")).text
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        said += str(await connection.fetch("SELECT u::text, s::text FROM waggle.users u LEFT JOIN waggle.sessions s ON s.user_id = u.id"))
    finally:
        await connection.close()
    for text in (
        PASSWORD,
        "canary-wrong-password",
        "canary-in-the-wrong-field",
        tokens["access_token"],
        tokens["refresh_token"],
        tokens["refresh_token"].rpartition("_")[2],
    ):
        assert text not in said


async def test_a_flood_of_logins_takes_bounded_memory_and_others_are_served(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "flooded")

    def memory_mb() -> float:
        with open(f"/proc/{process.pid}/status") as file:  # noqa: PTH123  # a short read
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

    before = memory_mb()
    flood = [asyncio.create_task(stranger.post("/api/auth/login", json={"name": "flooded", "password": "wrong password!"})) for _ in range(200)]
    await asyncio.sleep(0.3)
    ok(await api.get("/api/tasks"))
    assert not all(login.done() for login in flood), "others wait until the flood is over"
    statuses = [answer.status_code for answer in await asyncio.gather(*flood)]
    assert set(statuses) <= {401, 503}
    assert memory_mb() - before < 100
    assert ok(await api.get("/api/auth/me"))
