"""Every route by every scope, generated from the declarations: who may not use it learns nothing."""

import re
from uuid import UUID

import pytest

from support.access import made, without_id
from support.keys import ADMIN_KEY
from support.processes import Process
from support.system import Client, bearer, client_of, ok
from waggle.scopes import GRANTED, Scope
from waggle_api.app import GROUPS, PREFIXES
from waggle_api.http.routing import Route

PLACES = {
    "task_id": str(UUID(int=1)),
    "redrive_id": str(UUID(int=2)),
    "alert_id": str(UUID(int=3)),
    "queue": "default",
    "name": "a-name",
    "key_id": "NoSuchKey000",
    "user": "no-such-user",
    "publisher": "no-such-publisher",
    "rejection": "1",
    "address": "203.0.113.1",
}
ROUTES = [(route, prefix) for group in GROUPS for prefix in ([""] if group.is_probe else PREFIXES) for route in group]
GUARDED = [(route, prefix) for route, prefix in ROUTES if route.scope is not Scope.PUBLIC]
SPARED = {"queues_pause", "queues_purge", "dlq_clean_up"}
"""They would change what other tests use; tests of their own call them with the right scope."""

# Wrong in every way that a request can be: each must look the same from outside.
OTHERS = "wgl_NoSuchKey000_ThisKeyHasNeverBeenMade0000000"
WRONG: dict[str, dict[str, str]] = {
    "no credentials": {},
    "another scheme": {"authorization": "Basic d2FnZ2xlOndhZ2dsZQ=="},
    "no scheme": {"authorization": ADMIN_KEY},
    "no key after the scheme": {"authorization": "Bearer"},
    "not the form of a key": bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
    "a wrong check": bearer(ADMIN_KEY[:-1] + "x"),
    "an unknown id": bearer("wgl_NoSuchKey000_TheTestsAdminKeyIsNoSecret0000000000"),
    "two credentials": {"authorization": f"Bearer {ADMIN_KEY}", "x-api-key": OTHERS},
}


def address(route: Route, prefix: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: PLACES[found[1]], prefix + route.paths[0])


def test_only_probes_the_schema_and_signing_in_are_public() -> None:
    public = {route.name for route, _ in ROUTES if route.scope is Scope.PUBLIC}
    login = {"auth_login", "auth_refresh", "auth_key_set", "oidc_login", "oidc_callback"}
    probes = {"health", "health_db", "health_nats", "health_livez", "health_readyz", "health_metrics"}
    assert public == {*probes, *login, "schema_home", "schema_page", "schema_openapi_json", "schema_script"}
    assert len({route.name for route, _ in GUARDED}) > 30


def test_what_changes_something_needs_a_scope_that_says_so() -> None:
    for route, _ in GUARDED:
        if route.method != "GET" and route.scope is not Scope.SIGNED_IN:
            assert route.scope is Scope.ADMIN or route.scope.endswith(":write"), route.name


@pytest.mark.parametrize("wrong", WRONG)
async def test_without_a_valid_key_every_route_answers_the_same(process: Process, wrong: str) -> None:
    async with client_of(process, None) as client:
        first = without_id(await client.get("/api/tasks"))
        assert first[0] == 401
        assert first[1]["code"] == "unauthorized"
        assert first[2]["www-authenticate"] == 'Bearer realm="waggle"'
        for route, prefix in GUARDED:
            answer = without_id(await client.request(route.method, address(route, prefix), headers=WRONG[wrong], content=b"\x00" * 10))
            assert answer == first, route.name


ENDLESS = {"events_listen"}  # tests/integration/doors/test_events.py listens


async def test_every_route_needs_its_scope(api: Client, process: Process) -> None:
    for scope in sorted(GRANTED - {Scope.ADMIN}):
        async with client_of(process, await made(api, scopes=[scope])) as client:
            for route, prefix in GUARDED:
                if route.scope is Scope.SIGNED_IN or (route.scope is scope and route.name in SPARED):
                    continue
                if route.scope is scope and route.name in ENDLESS:
                    continue
                answer = await client.request(route.method, address(route, prefix), headers={"content-type": "application/json"}, content=b"[")
                if route.scope is scope:
                    assert answer.status_code not in (401, 403), (route.name, scope, answer.text)
                else:
                    assert answer.status_code == 403, (route.name, scope, answer.text)
                    assert answer.json()["detail"] == f"this needs the scope {route.scope}, which you do not have"


async def test_a_key_for_one_queue_cannot_use_what_concerns_all(api: Client, process: Process) -> None:
    key = await made(api, scopes=sorted(GRANTED - {Scope.ADMIN}), queues=["mine"])
    async with client_of(process, key) as client:
        for route, prefix in GUARDED:
            if route.limited or route.scope is Scope.ADMIN:
                continue
            answer = await client.request(route.method, address(route, prefix))
            assert (answer.status_code, answer.json()["detail"]) == (403, "this concerns all queues and types, and your key is limited to some"), route.name


async def test_keys_are_sent_in_either_header(process: Process) -> None:
    async with client_of(process, None) as client:
        for headers in (bearer(ADMIN_KEY), {"authorization": f"bearer  {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}, {"x-api-key": ADMIN_KEY, **bearer(ADMIN_KEY)}):
            assert ok(await client.get("/api/auth/me", headers=headers))["name"] == "key:TestAdmin000"
