"""Forged access tokens at a running API: each gets the answer that somebody without a token gets, and never a hint what is wrong with it."""

import statistics
import time
from collections.abc import AsyncIterator

import pytest

from support.access import PASSWORD, user, without_id
from support.forged import Forger
from support.processes import Process
from support.system import Client, bearer, client_of, ok
from waggle_api.edge.tokens import Tokens


@pytest.fixture
async def stranger(process: Process) -> AsyncIterator[Client]:
    """A client without a key."""
    async with client_of(process, None) as client:
        yield client


async def test_each_is_refused_with_one_answer_and_the_good_one_is_read(api: Client, stranger: Client, process: Process) -> None:
    await user(api, "forger", "admin")
    good = ok(await stranger.post("/api/auth/login", json={"name": "forger", "password": PASSWORD}))["access_token"]
    settings = process.settings
    forger = Forger(Tokens(settings.api_secret, settings.api_issuer, settings.api_signing), good)
    answers = {name: await stranger.get("/api/users", headers=bearer(token)) for name, token in forger.all().items()}
    answers |= {
        "no JWT at all": await stranger.get("/api/users", headers=bearer("x")),
    }
    expected = without_id(answers["alg none"])
    assert expected[0] == 401
    assert {name: found for name, answer in answers.items() if (found := without_id(answer)) != expected} == {}
    for path, method in (("/api/tasks", "POST"), ("/api/dlq/retry", "POST"), ("/api/auth/keys", "POST"), ("/api/audit", "GET")):
        for name in ("alg none", "HS256 with the public key", "expired a second ago", "more claims"):
            assert (await stranger.request(method, path, headers=bearer(forger.all()[name]), json={})).status_code == 401, (path, name)
    assert (await stranger.get("/api/users", headers=bearer(good))).status_code == 200
    assert (await stranger.get("/api/users", headers=bearer(forger.forged(forger.header, forger.claims)))).status_code == 200, "the forger can sign"


async def test_a_foreign_task_takes_as_long_as_a_missing_one(api: Client, process: Process) -> None:
    """The medians of many requests, one kind after the other: nobody learns by the clock which ids exist."""
    made = ok(await api.post("/api/auth/keys", json={"comment": "narrow", "scopes": ["tasks:read", "tasks:write"], "queues": ["elsewhere"]}), 201)
    foreign = (await api.submit("test.work", delay=3600))["id"]
    missing = foreign[:-4] + ("0000" if foreign[-4:] != "0000" else "0001")
    seconds: dict[tuple[str, str], list[float]] = {}
    async with client_of(process, made["key"]) as narrow:
        for _ in range(60):
            for which, task_id in (("foreign", foreign), ("missing", missing)):
                for method, path in (("GET", f"/api/tasks/{task_id}"), ("POST", f"/api/tasks/{task_id}/cancel"), ("GET", f"/api/tasks/{task_id}/timeline")):
                    began = time.perf_counter()
                    answer = await narrow.request(method, path)
                    seconds.setdefault((path.replace(task_id, "ID"), which), []).append(time.perf_counter() - began)
                    assert answer.status_code == 404
    for path in {path for path, _ in seconds}:
        medians = [statistics.median(seconds[path, which]) for which in ("foreign", "missing")]
        assert max(medians) < 2 * min(medians), (path, medians)
