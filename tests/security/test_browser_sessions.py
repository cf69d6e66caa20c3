"""Sessions of browsers: a cookie is enough to read, a write needs a token that only a page of ours can know. And pages of other origins that may come in."""

import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from support.access import PASSWORD, user
from support.facts import until
from support.keys import ADMIN_KEY
from support.processes import Process
from support.system import Client, Json, Services, bearer, client_of, ok

CONSOLE = "https://console.example.com"


@pytest.fixture
async def stranger(process: Process) -> AsyncIterator[Client]:
    async with client_of(process, None) as client:
        yield client


async def signed_in(stranger: Client, name: str) -> tuple[dict[str, str], Json, str]:
    """The header with the cookie, the body, and the header that set it."""
    answer = await stranger.post("/api/auth/login", json={"name": name, "password": PASSWORD, "cookie": True})
    body, header = ok(answer), answer.headers["set-cookie"]
    stranger.cookies.clear()  # the tests send it themselves
    return {"cookie": f"theme=dark; {header.partition(';')[0]}; other=1"}, body, header


async def test_the_cookie_is_for_this_site_and_no_script(api: Client, stranger: Client) -> None:
    await user(api, "cookie-shape")
    _, body, header = await signed_in(stranger, "cookie-shape")
    assert re.fullmatch(r"__Host-waggle-[0-9a-f]{8}=wgs_[0-9a-f]{32}_[0-9a-f]{64}; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict", header)
    assert set(body) == {"csrf_token", "expires_in"}
    assert body["csrf_token"] not in header


async def test_a_read_needs_the_cookie_and_a_write_the_token_too(api: Client, stranger: Client) -> None:
    await user(api, "cookie-user", "operator")
    cookie, body, _ = await signed_in(stranger, "cookie-user")
    who = ok(await stranger.get("/api/auth/me", headers=cookie))
    assert (who["name"], who["csrf_token"]) == ("user:cookie-user", body["csrf_token"])
    task = {"type": "test.work", "delay": 3600}
    token = {"x-csrf-token": body["csrf_token"]}
    for wrong in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "x" * 32}, {"x-csrf-token": body["csrf_token"][:-1]}):
        refused = await stranger.post("/api/tasks", json=task, headers={**cookie, **wrong})
        assert (refused.status_code, "X-CSRF-Token" in refused.json()["detail"]) == (403, True)
    ok(await stranger.post("/api/tasks", json=task, headers={**cookie, **token}), 201)
    foreign = {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"}
    assert (await stranger.post("/api/tasks", json=task, headers={**cookie, **token, **foreign})).status_code == 403
    other, other_body, _ = await signed_in(stranger, "cookie-user")
    crossed = await stranger.post("/api/tasks", json=task, headers={**other, **token})
    assert (crossed.status_code, other_body["csrf_token"] != body["csrf_token"]) == (403, True)


async def test_signing_out_ends_it_and_removes_the_cookie(api: Client, stranger: Client) -> None:
    await user(api, "cookie-leaver")
    cookie, body, header = await signed_in(stranger, "cookie-leaver")
    answer = await stranger.post("/api/auth/logout", headers={**cookie, "x-csrf-token": body["csrf_token"]})
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith(header.partition("=")[0] + "=; Path=/; Max-Age=0;")
    assert (await stranger.get("/api/auth/me", headers=cookie)).status_code == 401


async def test_what_is_no_cookie_of_ours_is_nobody(api: Client, stranger: Client) -> None:
    await user(api, "cookie-forger")
    cookie, _, _ = await signed_in(stranger, "cookie-forger")
    name, _, value = cookie["cookie"].split("; ")[1].partition("=")
    ok(await stranger.get("/api/auth/me", headers=cookie))
    for forged in ("", ADMIN_KEY, value[:-1] + ("0" if value[-1] != "0" else "1"), value.replace("wgs_", "wgr_"), "x", "é"):
        for method, path in (("GET", "/api/auth/me"), ("POST", "/api/tasks")):
            answer = await stranger.request(method, path, headers={"cookie": f"{name}={forged}".encode("latin-1")})  # type: ignore[dict-item]
            assert answer.status_code == 401
    assert (await stranger.get("/api/auth/me", headers=bearer(value))).status_code == 401  # a cookie is no token
    other_name = {"cookie": f"__Host-waggle-00000000={value}"}
    assert (await stranger.get("/api/auth/me", headers=other_name)).status_code == 401


async def test_a_page_of_an_allowed_origin_reads_and_writes_with_a_key(start: Services) -> None:
    process = await start("api", api_origins=(CONSOLE,), unknown_types="accept")
    async with client_of(process) as api:
        read = await api.get("/api/tasks", headers={"origin": CONSOLE, "sec-fetch-site": "cross-site"})
        assert ok(read) == {"items": []}
        assert read.headers["access-control-allow-origin"] == CONSOLE
        assert read.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in read.headers
        written = await api.post("/api/tasks", json={"type": "any.thing"}, headers={"origin": CONSOLE, "sec-fetch-site": "cross-site"})
        assert (written.status_code, written.headers["access-control-allow-origin"]) == (201, CONSOLE)
        asked = {"origin": CONSOLE, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
        preflight = await api.request("OPTIONS", "/api/tasks", headers=asked)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert {"POST", "DELETE"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        refused = await api.get("/api/tasks", headers={"origin": CONSOLE, "authorization": "Bearer wrong"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, CONSOLE)
        for other in ("https://evil.example", CONSOLE + ":8443", CONSOLE.upper(), "null", "http://console.example.com"):
            assert "access-control-allow-origin" not in (await api.get("/api/tasks", headers={"origin": other})).headers
            assert (await api.post("/api/tasks", json={"type": "any.thing"}, headers={"origin": other})).status_code == 403


async def test_the_browser_session_of_a_disabled_user_ends(api: Client, stranger: Client) -> None:
    await user(api, "cookie-disabled")
    cookie, _, _ = await signed_in(stranger, "cookie-disabled")
    ok(await api.patch("/api/users/cookie-disabled", json={"disabled": True}))

    async def ended() -> bool:
        answer: httpx2.Response = await stranger.get("/api/auth/me", headers=cookie)
        return answer.status_code == 401

    await until(ended, what="the session ends")
