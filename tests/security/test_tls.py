"""TLS by settings, a certificate that is renewed while the API runs, and a port of their own for the probes."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from support.command_line import waggle
from support.facts import until
from support.keys import ADMIN_KEY
from support.processes import launch
from support.system import Client, Services, bearer, client_of, ok
from waggle.settings.shared import Settings
from waggle.telemetry import endpoint
from waggle_api.http import server
from waggle_api.http.connections import Connections

AUTHORITY = trustme.CA()


def written(folder: Path, made: trustme.LeafCert) -> server.Certificate:
    """The files of a certificate."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    for file, parts in ((chain, made.cert_chain_pems), (key, [made.private_key_pem])):
        file.write_bytes(b"".join(part.bytes() for part in parts))
    return server.Certificate(chain, key)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def test_the_api_speaks_tls_only_and_says_so(start: Services, folder: Path) -> None:
    files = written(folder, AUTHORITY.issue_cert("localhost", "127.0.0.1"))
    api = await start("api", api_tls_cert=str(files.chain), api_tls_key=str(files.key), unknown_types="accept")
    assert api.api_url.startswith("https://127.0.0.1:")
    async with Client(base_url=api.api_url, headers=bearer(ADMIN_KEY), verify=trusting(), trust_env=False) as client:
        task = await client.submit("any.thing")
        found = await client.get(f"/api/tasks/{task['id']}", headers={"origin": api.api_url})
        assert found.headers["strict-transport-security"] == "max-age=31536000"
        ok(await client.delete(f"/api/tasks/{task['id']}", headers={"origin": api.api_url, "sec-fetch-site": "same-origin"}))
    authority = folder / "authority.pem"
    authority.write_bytes(AUTHORITY.cert_pem.bytes())
    there = {"WAGGLE_API_KEY": ADMIN_KEY, "WAGGLE_URL": api.api_url}
    trusting_it = await asyncio.to_thread(waggle, "tasks", "list", place=folder, **there, SSL_CERT_FILE=str(authority))
    assert (trusting_it.returncode, task["id"] in trusting_it.stdout) == (0, True)
    distrusting = await asyncio.to_thread(waggle, "tasks", "list", place=folder, **there)
    assert distrusting.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in distrusting.stderr
    without = await asyncio.to_thread(waggle, "tasks", "list", place=folder, **there, SSL_CERT_FILE=str(folder / "none.pem"))
    assert "none.pem cannot be used" in without.stderr
    async with httpx2.AsyncClient(trust_env=False) as stranger:
        with pytest.raises(httpx2.ConnectError):
            await stranger.get(api.api_url + "/livez")
        with pytest.raises(httpx2.RemoteProtocolError):
            await stranger.get(api.api_url.replace("https", "http") + "/livez")


async def test_without_tls_no_browser_is_told_to_insist_on_it(start: Services) -> None:
    async with client_of(await start("api")) as client:
        assert "strict-transport-security" not in (await client.get("/livez")).headers


async def answered(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def test_a_renewed_certificate_is_served_without_a_restart(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(server, "CERTIFICATE_SECONDS", 0.05)
    files, listener = written(folder, AUTHORITY.issue_cert("localhost")), endpoint.listen("127.0.0.1", 0)
    running = server.Server(answered, listener, Connections(10, 10), 1.0, files)
    tasks = [asyncio.create_task(running.serve()), asyncio.create_task(running.keep_certificate())]
    await until(lambda: running._server.started)

    async def served() -> bytes:
        _, writer = await asyncio.open_connection(*listener.getsockname(), ssl=trusting(), server_hostname="localhost")
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return found

    first = await served()
    files.chain.write_bytes(b"half of a certifi")
    await asyncio.sleep(0.2)
    assert await served() == first, "what cannot be read changes nothing"
    renewed, key = AUTHORITY.issue_cert("localhost"), files.key.read_bytes()
    written(folder, renewed)
    files.key.write_bytes(key)
    await asyncio.sleep(0.2)
    assert await served() == first, "a new certificate with the key of the one before changes nothing"
    written(folder, renewed)

    async def is_new() -> bool:
        return await served() != first

    await until(is_new)
    tasks[1].cancel()
    await running.stop()
    await asyncio.gather(*tasks, return_exceptions=True)


def no_key(files: server.Certificate) -> dict[str, str]:
    return {"api_tls_cert": str(files.chain)}


def missing(files: server.Certificate) -> dict[str, str]:
    return {"api_tls_cert": str(files.chain), "api_tls_key": str(files.key) + ".not"}


def another_key(files: server.Certificate) -> dict[str, str]:
    files.key.write_bytes(AUTHORITY.issue_cert("other").private_key_pem.bytes())
    return {"api_tls_cert": str(files.chain), "api_tls_key": str(files.key)}


@pytest.mark.parametrize(
    ("change", "said"),
    [(no_key, "WAGGLE_API_TLS_CERT and WAGGLE_API_TLS_KEY belong together"), (missing, "No such file"), (another_key, "mismatch")],
    ids=["no key", "a missing file", "the key of another"],
)
async def test_a_certificate_that_cannot_be_used_stops_the_start(
    settings: Settings, folder: Path, change: Callable[[server.Certificate], dict[str, str]], said: str
) -> None:
    changed = change(written(folder, AUTHORITY.issue_cert("localhost")))
    process = launch("api", settings, folder, environ={f"WAGGLE_{name.upper()}": value for name, value in changed.items()})
    assert await process.ended() == 2
    assert said.lower() in process.tail().lower()


async def test_probes_may_have_a_port_of_their_own(start: Services) -> None:
    api = await start("api", api_probes_port=0)
    probes = api.metrics_url.removesuffix("/metrics")
    assert probes != api.api_url
    async with httpx2.AsyncClient(trust_env=False) as client:
        for path in ("/livez", "/readyz", "/metrics", "/health", "/health/db"):
            assert (await client.get(probes + path)).status_code == 200
            assert (await client.get(api.api_url + path)).status_code == 404
        assert (await client.get(api.api_url + "/api/tasks", headers=bearer(ADMIN_KEY))).status_code == 200
        assert (await client.get(probes + "/api/tasks")).status_code == 404
        assert (await client.get(probes + "/livez", headers={"host": "evil.example"})).status_code == 421
