"""Rate limits of a running fleet: one quota over all API processes, also while NATS is killed; strict ones for signing in."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

import httpx2
import pytest

from support.access import made
from support.facts import until
from support.metrics import counted
from support.one_api import prepare
from support.servers import NatsServer
from support.system import Services, bearer, client_of, ok

PASSWORD = "correct horse battery staple"


async def statuses(clients: list[httpx2.AsyncClient], key: str, count: int) -> Counter[int]:
    answers = await asyncio.gather(*(clients[number % len(clients)].get("/api/auth/me", headers=bearer(key)) for number in range(count)))
    return Counter(answer.status_code for answer in answers)


async def within_a_minute() -> None:
    """Go on when this minute has 30 s left: while the window slides, a slow flood is admitted a little more."""
    left = 60 - time.time() % 60
    if left < 30:
        await asyncio.sleep(left)


async def test_four_apis_admit_one_quota(start: Services) -> None:
    await prepare(start.settings)
    apis = [start.launch("api", api_rate_requests=100) for _ in range(4)]
    await asyncio.gather(*(until(api.ready, 30.0) for api in apis))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(api)) for api in apis]
        key = await made(clients[0], scopes=["tasks:read"])
        await within_a_minute()
        found = await statuses(clients, key, 1_000)
        assert found[200] <= 100
        assert found[200] >= 50
        assert found[200] + found[429] == 1_000
        refused = await clients[0].get("/api/auth/me", headers=bearer(key))
        assert refused.headers["content-type"] == "application/problem+json"
        body = refused.json()
        assert (body["type"], body["violated-policies"]) == ("https://iana.org/assignments/http-problem-types#quota-exceeded", ["requests"])
        assert (body["code"], body["retryable"]) == ("rate_limit_exceeded", True)
        assert refused.headers["ratelimit-policy"] == '"requests";q=100;w=60'
        assert refused.headers["ratelimit"] == f'"requests";r=0;t={refused.headers["retry-after"]}'
        admitted = await clients[0].get("/api/auth/me")  # another key
        assert admitted.headers["ratelimit-policy"] == '"requests";q=100;w=60'
        assert admitted.headers.get_list("ratelimit") == [admitted.headers["ratelimit"]]
        assert sum([(await counted(api, "rate_limit_exceeded_total")).get("requests", 0) for api in apis]) == found[429] + 1


async def test_while_nats_is_killed_each_api_keeps_the_quota_by_itself_and_nobody_signs_in(start: Services, nats: NatsServer) -> None:
    await prepare(start.settings)
    apis = [start.launch("api", api_rate_requests=100) for _ in range(2)]
    await asyncio.gather(*(until(api.ready, 30.0) for api in apis))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(api)) for api in apis]
        ok(await clients[0].post("/api/users", json={"name": "anna", "role": "viewer", "password": PASSWORD}), 201)
        tokens = ok(await clients[0].post("/api/auth/login", json={"name": "anna", "password": PASSWORD}))
        key = await made(clients[0], scopes=["tasks:read"])
        await within_a_minute()
        flood = asyncio.create_task(statuses(clients, key, 1_000))
        await asyncio.sleep(0.2)
        nats.kill()
        found = await flood
        assert 50 <= found[200] <= 2 * 100
        assert found[200] + found[429] == 1_000
        closed = await clients[0].post("/api/auth/login", json={"name": "anna", "password": PASSWORD})
        assert (closed.status_code, "retry-after" in closed.headers) == (503, True)
        again = ok(await clients[0].post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
        ok(await clients[1].get("/api/auth/me", headers=bearer(again["access_token"])))


async def test_signing_in_is_limited_by_the_address_that_a_proxy_vouches_for(start: Services) -> None:
    await prepare(start.settings)
    api = await start("api", api_rate_logins=20, api_block_failures=0, api_proxies=1)
    async with client_of(api) as client:
        ok(await client.post("/api/users", json={"name": "anna", "role": "viewer", "password": PASSWORD}), 201)
        login = {"name": "anna", "password": "a wrong password"}
        forged = [{"x-forwarded-for": f"10.{number // 250}.{number % 250}.1, 203.0.113.7"} for number in range(1_000)]
        answers = [await client.post("/api/auth/login", json=login, headers=headers) for headers in forged[:200]]
        found = Counter(answer.status_code for answer in answers)
        assert found[401] <= 40  # of two minutes, if one ends meanwhile
        assert found[401] + found[429] == 200
        assert answers[-1].json()["violated-policies"] == ["logins"]
        other = await client.post("/api/auth/login", json={**login, "password": PASSWORD}, headers={"x-forwarded-for": "203.0.113.8"})
        assert other.status_code == 200


async def test_batches_cost_their_tasks(start: Services) -> None:
    await prepare(start.settings)
    async with client_of(await start("api", api_rate_tasks=100)) as api:
        batch = {"tasks": [{"type": "test.work", "delay": 3600}] * 60}
        ok(await api.post("/api/tasks/batch", json=batch), 201)
        refused = await api.post("/api/tasks/batch", json=batch)
        assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["tasks"])
        ok(await api.post("/api/tasks/batch", json={"tasks": batch["tasks"][:30]}), 201)
        ok(await api.post("/api/tasks", json=batch["tasks"][0]), 201)
        never = await api.post("/api/tasks/batch", json={"tasks": batch["tasks"] * 2})
        assert (never.status_code, never.json()["detail"]) == (429, "120 tasks at once; 100 are allowed in a minute")


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/schema/openapi.json", "/.well-known/jwks.json"])
async def test_probes_and_what_is_public_are_not_limited(start: Services, path: str) -> None:
    async with client_of(await start("api", api_rate_requests=1), None) as stranger:
        assert {(await stranger.get(path)).status_code for _ in range(5)} == {200}
