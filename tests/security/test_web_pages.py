"""A web page of somebody else cannot act on an API that its visitor's browser reaches, nor read it under a name of its own."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from support.facts import until
from support.metrics import counted
from support.processes import Process
from support.system import Client, ok
from waggle_api.app import GROUPS, PREFIXES

# What stands in the place of each path parameter; a refused request never looks for it.
PLACES = {"id": str(UUID(int=1)), "queue": "default", "name": "a-name", "key": "a-key"}
ROUTES = [
    (route.method, re.sub(r"\{(\w+)\}", lambda found: PLACES.get(found[1], "a-name"), prefix + path))
    for group in GROUPS
    for prefix in ([""] if group.is_probe else PREFIXES)
    for route in group
    for path in route.paths
]
WRITES = [(method, path) for method, path in ROUTES if method != "GET"]
FOREIGN = [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]


def problem(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["code"] == code
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_no_route_is_written_by_a_foreign_page(api: Client) -> None:
    assert len(WRITES) > 20
    for method, path in WRITES:
        for headers in FOREIGN:
            problem(await api.request(method, path, headers=headers), 403, "unauthorized")
            problem(await api.request(method, path, headers={**headers, "content-type": "text/plain"}, content=b"{}"), 403, "unauthorized")


async def test_no_route_answers_under_a_foreign_name(api: Client) -> None:
    for method, path in [*ROUTES, ("OPTIONS", "/api/tasks"), ("GET", "/nothing/here")]:
        problem(await api.request(method, path, headers={"host": "evil.example:8420"}), 421, "invalid_input")


async def test_other_clients_are_not_held_back(api: Client) -> None:
    ok(await api.post("/api/queues/default/pause"))
    ok(await api.post("/api/queues/default/resume", headers={"origin": str(api.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}))


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/x", "/nothing", "/metrics", "/livez", "/schema", "/schema/openapi.json"])
async def test_answers_tell_browsers_to_be_careful(api: Client, path: str) -> None:
    headers = (await api.get(path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_the_page_that_shows_the_document_may_run_its_own_script_only(api: Client) -> None:
    policy = (await api.get("/schema", headers={"accept": "text/html"})).headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "script-src 'self';" in policy[0]
    assert "frame-ancestors 'none'" in policy[0]


PAGE = """<!doctype html><title>evil</title><p id=said>nothing</p><script>
async function attempt(path, options) {
  try { const answer = await fetch(API + path, options); return answer.type + " " + answer.status }
  catch (error) { return error.name }
}
(async () => {
  const said = [
    await attempt("/api/queues/default/pause", {method: "POST", mode: "no-cors"}),
    await attempt("/api/queues/default/pause", {method: "POST", mode: "no-cors", body: new URLSearchParams({a: "b"})}),
    await attempt("/api/queues/default/pause", {method: "POST"}),
    await attempt("/api/tasks", {}),
  ];
  await fetch("/said", {method: "POST", body: JSON.stringify(said)});
})();
</script>"""


@asynccontextmanager
async def served(page: str, said: list[list[str]]) -> AsyncIterator[int]:
    """A web server with one page, which reports to `said`; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("POST /said"):
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length
            said.append(json.loads(await reader.readexactly(int(length[1]))))
        body = page.encode() if head.startswith("GET / ") else b""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refused(process: Process) -> float:
    """How many POSTs were refused."""
    return (await counted(process, "waggle_http_requests_total")).get("POST,unmatched,403", 0)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_real_browser_on_a_foreign_page_changes_and_reads_nothing(process: Process, api: Client, folder: Path, name: str) -> None:
    """The page comes from another port, of the same address or under another name."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: install the Debian package chromium"
    said: list[list[str]] = []
    before = await refused(process)
    async with served(PAGE.replace("API", json.dumps(str(api.base_url).rstrip("/"))), said) as port:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile")
        running = await asyncio.create_subprocess_exec(
            browser, *options, f"http://{name}:{port}/", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await until(lambda: said, 30.0, "the page has tried")
        finally:
            running.kill()
            await running.wait()
    assert said == [["TypeError"] * 4], "no answer may be shown to it"
    assert await refused(process) == before + 3
    [queue] = [one for one in ok(await api.get("/api/queues"))["items"] if one["name"] == "default"]
    assert queue["paused"] is False
