"""Signing in at a real identity provider: who is in a group that may come in gets their role, nobody else gets anything."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from support.facts import until
from support.identity_provider import CLIENT_SECRET, IdentityProvider, identity_provider, installed, signed_in_there
from support.one_api import prepare
from support.processes import Process, launch
from support.system import Client, Json, Services, client_of, ok
from waggle_embedded.placement import free_port

ROLES = ("ops=operator", "waggle-admins=admin")


@pytest.fixture
async def there(start: Services, session_folder: Path, folder: Path) -> AsyncIterator[tuple[Process, IdentityProvider]]:
    """An API, and the provider at which its users sign in."""
    await prepare(start.settings)
    port = free_port()
    callback = f"http://127.0.0.1:{port}/api/auth/oidc/callback"
    with identity_provider(installed(session_folder), callback, folder / "provider.log") as provider:
        api = await start(
            "api",
            api_port=port,
            oidc_issuer=provider.issuer,
            oidc_client_id="waggle",
            oidc_client_secret=CLIENT_SECRET,
            oidc_callback=callback,
            oidc_scopes=("openid", "profile", "groups"),
            oidc_roles=ROLES,
        )
        yield api, provider


class Browser:
    """What a browser does between our API and the provider; the tests keep its cookies, because httpx sends no Secure ones over plain HTTP."""

    def __init__(self, api: Client) -> None:
        self.api, self.cookies = api, dict[str, str]()

    async def get(self, url: str) -> "tuple[int, str, Json | None]":
        """Status, place of a redirect, and body."""
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.api.get(url, headers={"cookie": sent} if sent else {})
        self.api.cookies.clear()
        for header in answer.headers.get_list("set-cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            assert "HttpOnly; Secure; SameSite=" in header
            self.cookies[name] = value
        return answer.status_code, answer.headers.get("location", ""), answer.json() if answer.content else None

    async def begin(self) -> str:
        status, url, _ = await self.get("/api/auth/oidc/login")
        assert status == 302
        return url

    async def sign_in(self, user: str) -> "tuple[int, str, Json | None]":
        return await self.get(await signed_in_there(await self.begin(), user))


async def test_who_is_in_a_group_comes_in_with_their_highest_role_and_nobody_else(there: tuple[Process, IdentityProvider]) -> None:
    process, _ = there
    async with client_of(process, None) as stranger, client_of(process) as admin:
        for user, role in (("anna", "operator"), ("boss", "admin")):
            browser = Browser(stranger)
            assert (await browser.sign_in(user))[:2] == (302, "/schema")
            _, _, who = await browser.get("/api/auth/me")
            assert who is not None
            assert who["name"] == f"user:{user}"
            assert ("admin" in who["scopes"]) is (role == "admin")
            assert who["csrf_token"]
            assert ok(await admin.get(f"/api/users/{user}"))["role"] == role
        for user in ("eve", "nobody"):
            browser = Browser(stranger)
            status, _, body = await browser.sign_in(user)
            assert body is not None
            assert (status, body["detail"]) == (403, "you are in no group that may use this Waggle")
            assert (await browser.get("/api/auth/me"))[0] == 401
            assert (await admin.get(f"/api/users/{user}")).status_code == 404
        (entry,) = ok(await admin.get("/api/audit", params={"action": "session.begin", "actor": "user:anna"}))["items"]
        assert entry["after"] == {"role": "operator", "by": "oidc"}
        wrong = await stranger.post("/api/auth/login", json={"name": "anna", "password": "any password at all"})
        assert wrong.status_code == 401  # they have no password here
    assert CLIENT_SECRET not in process.log.read_text()


async def test_a_login_is_finished_in_the_browser_that_began_it_once_and_unchanged(there: tuple[Process, IdentityProvider]) -> None:
    process, provider = there
    async with client_of(process, None) as stranger:
        browser = Browser(stranger)
        began = await browser.begin()
        asked = parse_qs(urlsplit(began).query)
        assert began.startswith(provider.issuer)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["response_type"] == ["code"]
        assert len(asked["state"][0]) >= 32
        back = await signed_in_there(began, "anna")
        assert (await Browser(stranger).get(back))[0] == 401  # another browser
        state = parse_qs(urlsplit(back).query)["state"][0]
        assert (await browser.get(back.replace(state, "x" * len(state))))[0] == 401
        code = parse_qs(urlsplit(back).query)["code"][0]
        assert (await browser.get(back.replace(code, "x" * len(code))))[0] == 401
        other = Browser(stranger)
        other.cookies = {name: value[:-1] + ("0" if value[-1] != "0" else "1") for name, value in browser.cookies.items()}
        assert (await other.get(back))[0] == 401
        assert (await browser.get(back))[:2] == (302, "/schema")
        assert (await browser.get(back))[0] == 401  # a code is good once
        refused = await browser.get("/api/auth/oidc/callback?error=access_denied&error_description=no")
        assert refused[0] == 401


async def test_a_user_with_a_password_is_not_taken_over_and_an_admin_can_shut_somebody_out(there: tuple[Process, IdentityProvider]) -> None:
    process, _ = there
    async with client_of(process, None) as stranger, client_of(process) as admin:
        ok(await admin.post("/api/users", json={"name": "boss", "role": "admin", "password": "correct horse battery"}), 201)
        status, _, body = await Browser(stranger).sign_in("boss")
        assert body is not None
        assert (status, "has this name here" in body["detail"]) == (403, True)
        browser = Browser(stranger)
        assert (await browser.sign_in("anna"))[0] == 302
        ok(await admin.patch("/api/users/anna", json={"disabled": True}))
        assert (await browser.get("/api/auth/me"))[0] == 401
        assert (await Browser(stranger).sign_in("anna"))[0] == 403
        refused = await admin.patch("/api/users/anna", json={"password": "a password for her"})
        assert refused.status_code == 409


async def test_without_the_provider_local_users_still_come_in(there: tuple[Process, IdentityProvider]) -> None:
    process, provider = there
    async with client_of(process, None) as stranger, client_of(process) as admin:
        ok(await admin.post("/api/users", json={"name": "local", "role": "admin", "password": "correct horse battery"}), 201)
        provider.process.kill()
        provider.process.wait()
        answer = await stranger.get("/api/auth/oidc/login")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        ok(await stranger.post("/api/auth/login", json={"name": "local", "password": "correct horse battery"}))


async def test_without_a_provider_there_is_none(start: Services) -> None:
    async with client_of(await start("api"), None) as stranger:
        assert (await stranger.get("/api/auth/oidc/login")).status_code == 404


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WAGGLE_OIDC_ISSUER": "https://id.example.com"}, "WAGGLE_OIDC_ISSUER needs WAGGLE_OIDC_CLIENT_ID and WAGGLE_OIDC_CALLBACK and WAGGLE_OIDC_ROLES"),
        ({"WAGGLE_OIDC_ROLES": "ops=boss"}, "WAGGLE_OIDC_ROLES"),
    ],
)
async def test_settings_that_do_not_fit_stop_the_start(start: Services, folder: Path, environ: dict[str, str], said: str) -> None:
    process = launch("api", start.settings, folder, environ=environ)
    assert await process.ended() == 2
    await until(lambda: said in process.tail())
