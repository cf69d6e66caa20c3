"""Workers, types, metrics and the log: what an operator sees of one API."""

import json

import asyncpg

from support import given
from support.processes import Process
from support.system import Client, ok

Pool = asyncpg.Pool


async def test_workers_are_alive_as_long_as_their_lease(api: Client, rows: Pool) -> None:
    await given.alive(rows, "living")
    await given.alive(rows, "departed", seconds=0.0)
    found = {worker["id"]: worker for worker in ok(await api.get("/api/workers"))["items"]}
    assert (found["living"]["alive"], found["departed"]["alive"]) == (True, False)
    assert (found["living"]["queues"], found["living"]["lease"]) == (["default"], 15.0)


async def test_types_show_their_schemas(api: Client) -> None:
    found = {kind["name"]: kind for kind in ok(await api.get("/api/types"))["items"]}
    assert (found["test.typed"]["queue"], found["test.typed"]["max_retries"], found["test.final"]["dead_letter"]) == ("typed", 1, False)
    assert found["test.typed"]["schema"]["required"] == ["to"]


async def test_metrics_count_tasks_requests_and_commits(api: Client) -> None:
    async def count(name: str) -> float:
        lines = (await api.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    submitted = 'waggle_tasks_submitted_total{queue="default",type="test.big"}'
    requests = 'waggle_http_requests_total{method="POST",route="/api/tasks/batch",status="201"}'
    before = await count(submitted), await count(requests), await count("waggle_commit_batch_size_sum")
    await api.submit_many([{"type": "test.big", "payload": {"size": 1}}] * 3)
    after = await count(submitted), await count(requests), await count("waggle_commit_batch_size_sum")
    assert [b - a for a, b in zip(before, after, strict=True)] == [3, 1, 3]
    assert await count("waggle_http_request_duration_seconds_count") > 0


async def test_a_refused_request_is_one_line_in_the_log_without_values(api: Client, process: Process) -> None:
    await api.post("/api/tasks", json={"type": "test.typed", "payload": {"to": "a", "count": "secret-value"}}, headers={"x-request-id": "line-1"})
    [line] = process.logged("request refused", request_id="line-1")
    assert (line["status"], line["code"], line["route"], line["fields"]) == (422, "validation_error", "/api/tasks", ["payload.count"])
    assert "secret-value" not in json.dumps(process.lines())
