"""Everything that is secret, in one system that is used, misused, cut off and ended: it is in no answer, log line, metric or core file."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec
import pytest

from support.access import PASSWORD, user
from support.facts import until
from support.keys import ADMIN_KEY, API_SECRET
from support.processes import Process
from support.system import Services, System, bearer, client_of, ok
from waggle_embedded.placement import free_port

CANARY = "canary4711"


@pytest.fixture
def core_files() -> Iterator[None]:
    """A limit with which a crash would write one."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


async def seen(process: Process) -> str:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.get(process.metrics_url)).text


@pytest.mark.usefixtures("core_files")
async def test_no_secret_is_seen_anywhere(start: Services, folder: Path) -> None:
    provider = f"http://127.0.0.1:{free_port()}"  # which nobody has started
    start.settings = msgspec.structs.replace(
        start.settings,
        oidc_issuer=provider,
        oidc_client_id="waggle",
        oidc_client_secret=f"{CANARY}-client-secret",
        oidc_callback=f"{provider}/api/auth/oidc/callback",
        oidc_roles=("ops=operator",),
        callback_secrets=("whsec_" + CANARY * 4,),
        otlp_endpoint=provider,
        otlp_headers=(f"authorization={CANARY}-of-the-collector",),
        alert_url=f"{provider}/hook",
        alert_secret="whsec_" + CANARY * 4,
        log_level="debug",
        api_block_failures=0,
    )
    system = await System.start(start)
    said = []
    async with client_of(system.api) as api, client_of(system.api, None) as stranger:
        await user(api, "anna", "admin")
        signed_in = ok(await stranger.post("/api/auth/login", json={"name": "anna", "password": PASSWORD}))
        keys = [ok(await api.post("/api/auth/keys", json={"comment": "a test", "scopes": ["tasks:read"]}), 201)["key"] for _ in range(2)]
        await api.wait(await api.submit("demo.fail", {"message": "x"}, max_retries=0))
        odd = {"x-api-key": CANARY, "authorization": f"Bearer {CANARY}", "cookie": f"a={CANARY}", "idempotency-key": f'"{CANARY}"'}
        for name, value in odd.items():
            for method, path, body in (("GET", "/api/tasks", b""), ("POST", "/api/tasks", b"{"), ("POST", "/api/auth/login", b'{"name": "anna", "password": ')):
                said.append((await stranger.request(method, path, headers={name: value}, content=body)).text)
        for body in ({"name": "anna", "password": CANARY}, {"name": CANARY, "password": "x"}, {"password": CANARY}, {"name": "anna", "password": [CANARY]}):
            said.append((await stranger.post("/api/auth/login", json=body)).text)
        for path in ("/api/auth/oidc/login", f"/api/auth/oidc/callback?code={CANARY}&state={CANARY}"):
            said.append((await stranger.get(path)).text)
        said.append((await stranger.post("/api/auth/refresh", json={"refresh_token": CANARY})).text)
        for key in (*keys, signed_in["access_token"]):
            assert (await stranger.get("/api/tasks", headers=bearer(key))).status_code == 200
        document = ok(await api.get("/schema/openapi.json"))
        for path, operations in document["paths"].items():
            if "get" in operations and "{" not in path and path not in ("/api/events", "/api/v1/events"):
                said.append((await api.get(path)).text)
    said += [await seen(process) for process in (system.api, system.worker, system.dlq, system.scheduler)]

    nowhere = f"127.0.0.1:{free_port()}"
    lost = [start.launch(name, postgres_url=f"postgresql://waggle:{CANARY}@{nowhere}/waggle") for name in ("api", "worker")]
    lost += [start.launch(name, nats_url=f"nats://waggle:{CANARY}@{nowhere}") for name in ("dlq", "scheduler")]
    for process in lost:
        await until(lambda process=process: process.lines(), 20.0)  # type: ignore[misc]
    for process in start.processes:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4] == "0", process.name
        process.ended_by_test = True
        process.process.send_signal(signal.SIGABRT)
        assert process.process.wait(20) == -signal.SIGABRT
    logs = {name: log.read_text() for name, log in start.logs.items()}
    assert all(logs.values())
    secrets = [CANARY, ADMIN_KEY.rpartition("_")[2], API_SECRET, PASSWORD, signed_in["access_token"], signed_in["refresh_token"]]
    secrets += [key.rpartition("_")[2] for key in keys] + [urlsplit(url).password or "?" for url in (start.settings.postgres_url, start.settings.nats_url)]
    for secret in secrets:
        assert secret not in "".join(said), secret
        assert {name for name, text in logs.items() if secret in text} == set(), secret
    assert [file for file in folder.rglob("*core*") if file.is_file()] == []
