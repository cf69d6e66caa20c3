"""The OpenAPI document is true: a running system answers nothing that is not in it, and takes nothing that it excludes. Its page needs no network."""

import asyncio
import os
import re
import sysconfig
from pathlib import Path

import pytest

from support.access import made
from support.keys import ADMIN_KEY
from support.system import Client, Services, client_of, ok
from waggle.scopes import VIEWER
from waggle.store import catalogue
from waggle.store import postgres as store

ROOT = Path(__file__).parents[4]
SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"
SECONDS = 600  # a hundred operations, with many requests each


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(("who", "examples"), [("an admin", 5), ("a viewer", 1), ("nobody", 1)])
async def test_no_answer_of_the_system_is_missing_in_the_document(start: Services, folder: Path, who: str, examples: int) -> None:
    """Positive and negative requests to every operation, and chains of them along the links; the same ones in every run."""
    api = await start("api", unknown_types="accept")  # else every type that is made up is refused
    for name in ("worker", "dlq", "scheduler"):
        await start(name)
    async with store.pool(api.settings, "test", 1) as pool:  # the first name that schemathesis makes up; an unknown one is looked up anew, which takes time
        await catalogue.announce(pool, [catalogue.TaskType("a", "a", 3, 300.0, True, "{}")], ["a"])
    async with client_of(api) as client:
        await client.submit("demo.echo", {"hello": "world"})
        for message in ("one", "two"):
            await client.wait(await client.submit("demo.fail", {"message": message}, max_retries=0))
        keys = {"an admin": ADMIN_KEY, "a viewer": await made(client, scopes=sorted(VIEWER)), "nobody": ""}
    command = [SCHEMATHESIS, "--config-file", Path(__file__).with_name("schemathesis.toml"), "run", f"{api.api_url}/schema/openapi.json", "--no-color"]
    options = ["--generation-deterministic", "--max-examples", str(examples), "--continue-on-failure", "--suppress-health-check", "all"]
    if keys[who]:
        options += ["--header", f"X-API-Key: {keys[who]}"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "NO_PROXY": "*"}
    run = await asyncio.create_subprocess_exec(*command, *options, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
    assert run.returncode == 0, out.decode()
    assert re.search(r"Tested: (\d+)", out.decode()), out.decode()
    assert not api.logged("request crashed")


async def test_clients_other_than_browsers_get_the_document_at_both_addresses(api: Client) -> None:
    document = ok(await api.get("/schema/openapi.json"))
    assert document["openapi"].startswith("3.1")
    assert ok(await api.get("/schema")) == document


async def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(api: Client) -> None:
    page = await api.get("/schema", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    assert not re.search(r"""(src|href|url)=["'](https?:)?//""", page.text)
    for address in re.findall(r'(?:src|spec-url)="([^"]+)"', page.text):
        assert (await api.get(f"/{address}")).status_code == 200


@pytest.mark.parametrize("path", ["/api/tasks", "/api/v1/tasks/x", "/api/queues", "/health", "/schema"])
async def test_options_names_every_method_of_an_address(api: Client, path: str) -> None:
    document = ok(await api.get("/schema/openapi.json"))
    allowed = (await api.options(path)).headers["allow"].split(", ")
    documented = document["paths"][path.replace("/v1", "").replace("/x", "/{task_id}")]
    methods = {"OPTIONS", *(method.upper() for method in documented)}
    assert allowed == sorted(methods | ({"HEAD"} if "GET" in methods else set()))
