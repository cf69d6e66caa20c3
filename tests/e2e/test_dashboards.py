"""A real Prometheus scrapes a running Waggle under a mixed load, and every query and variable of every dashboard finds points."""

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

import boards
from boards import BOARDS
from panels import COLUMNS, Board, rendered
from support.command_line import up
from support.facts import until
from support.processes import kill
from support.servers import run
from support.system import Client, client_for
from waggle.telemetry.catalogue import declared
from waggle_embedded.placement import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/waggle.rules.yml"
SETTINGS = {
    "WAGGLE_DLQ_CLEANUP_INTERVAL": "1",
    "WAGGLE_API_RATE_LOGINS": "3",
    "WAGGLE_API_BLOCK_FAILURES": "0",
    "WAGGLE_BREAKER_THRESHOLD": "2",
    "WAGGLE_HTTP_ALLOW": "127.0.0.1",
    "PYTHONPATH": str(ROOT / "tests"),
}
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def running(session_folder: Path) -> Iterator[dict[str, Any]]:
    place = session_folder / "dashboards"
    place.mkdir(mode=0o711)
    with up("--app", "support.handlers:app", place=place, output=place / "output.txt", **SETTINGS) as facts:
        yield {**facts, "place": place}


@pytest.fixture(scope="module")
def prometheus(running: dict[str, Any]) -> Iterator[str]:
    """The address of a Prometheus with the configuration that `waggle up` wrote, but quicker, and with the alert rules."""
    place: Path = running["place"]
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: apt-get install prometheus"
    config = yaml.safe_load((place / ".waggle/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    (place / "quick.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = ["--config.file=quick.yml", "--storage.tsdb.path=prometheus", f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    with (place / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *options], cwd=place, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        run(until(lambda: is_ready(address), PATIENCE_SECONDS, "Prometheus is ready"))
        yield address
    finally:
        kill(process)


async def is_ready(address: str) -> bool:
    """While it starts, Prometheus refuses connections, and then answers 503."""
    try:
        async with httpx2.AsyncClient(base_url=address, trust_env=False) as http:
            return (await http.get("/-/ready")).status_code == 200
    except httpx2.ConnectError:
        return False


@asynccontextmanager
async def load(running: dict[str, Any]) -> AsyncIterator[Client]:
    """Success, failure, retry, dead letters, trips, rate limits, failed logins, a paused queue, delays, and a killed worker."""
    async with client_for(running) as client:
        await client.post("/api/queues/typed/pause")
        await client.post("/api/tasks", json={"type": "test.typed", "payload": {"to": "nobody"}})
        await client.post("/api/tasks/batch", json={"tasks": [{"type": "test.work", "payload": {"seconds": 60}}] * 5})
        os.kill(running["pids"]["worker"], signal.SIGKILL)

        async def goes_on() -> None:
            closed = {"url": f"http://127.0.0.1:{free_port()}/"}
            for turn in range(10_000):
                for kind, payload in (
                    ("demo.echo", {}), ("demo.fail", {"retryable": False}), ("demo.fail", {}), ("test.flaky", {"failures": 1}),
                    ("test.tidy", {}), ("http.request", closed), ("demo.sleep", {"seconds": 0.2}),
                ):  # fmt: skip
                    await client.post("/api/tasks", json={"type": kind, "payload": payload})
                await client.post("/api/tasks", json={"type": "demo.echo", "delay": 0.3})
                await client.post("/api/auth/login", json={"name": "nobody", "password": f"wrong {turn}"})
                await client.get("/api/tasks", headers={"x-api-key": "wrong"})
                await asyncio.sleep(0.3)

        task = asyncio.create_task(goes_on())
        try:
            yield client
        finally:
            task.cancel()


def queries(board: Board) -> dict[str, str]:
    """Every query of a dashboard with all its variables set to everything, by panel and legend."""
    found = {}
    for panel in rendered(board)["panels"]:
        for target in panel.get("targets", []):
            query = re.sub(r"\$(job|queue|type)\b", ".*", target["expr"]).replace("$__rate_interval", "20s")
            assert "$" not in query, query
            found[f"{board.uid}: {panel['title']}: {target['legendFormat']}"] = query
    return found


async def test_every_panel_and_every_variable_has_points(running: dict[str, Any], prometheus: str) -> None:
    async with load(running), httpx2.AsyncClient(base_url=prometheus, trust_env=False) as http:

        async def points(query: str) -> list[Any]:
            answer = (await http.get("/api/v1/query", params={"query": query})).json()
            assert answer["status"] == "success", (query, answer)
            return [value for sample in answer["data"]["result"] if not math.isnan(value := float(sample["value"][1]))]

        async def without_points() -> list[str]:
            wanted = {name: query for each in BOARDS for name, query in queries(each).items()}
            return [name for name, query in wanted.items() if not await points(query)]

        async def all_have_points() -> bool:
            return not await without_points()

        try:
            await until(all_have_points, PATIENCE_SECONDS)
        except AssertionError:
            assert await without_points() == []
        for board in BOARDS:
            for variable in rendered(board)["templating"]["list"]:
                if variable["type"] == "query":
                    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
                    values = (await http.get(f"/api/v1/label/{label}/values", params={"match[]": metric})).json()["data"]
                    assert values, (board.uid, variable["name"])
        rules = (await http.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
        assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def test_every_metric_is_on_a_dashboard_or_in_an_alert() -> None:
    text = " ".join([*(query for board in BOARDS for query in queries(board).values()), RULES.read_text()])
    names = set(re.findall(r"\b[a-z_]+\b", text))
    used = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names} | names
    assert [spec.name for spec in declared() if spec.name not in used] == []


def test_the_files_are_those_that_the_code_makes() -> None:
    assert {file.stem for file in (boards.HERE / "dashboards").iterdir()} == {board.uid for board in BOARDS}
    for board in BOARDS:
        assert (boards.HERE / "dashboards" / f"{board.uid}.json").read_text() == boards.written(board), "run `uv run just dashboards`"
    assert boards.DOCS.read_text() == boards.page(), "run `uv run just dashboards`"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_has_a_unit_and_says_what_to_do(board: Board) -> None:
    panels = [panel for panel in rendered(board)["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in rendered(board)["panels"]}) == len(rendered(board)["panels"])
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS
