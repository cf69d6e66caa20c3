"""Creating, reading, listing, waiting for and cancelling tasks, by real HTTP against one API with real servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from support import given
from support.facts import until
from support.one_api import as_id, one_api
from support.processes import Process
from support.servers import PostgresServer
from support.system import Client, client_of, ok
from waggle.bus import connection, lane_head, subjects
from waggle.store import catalogue
from waggle.store import postgres as store
from waggle.store.catalogue import TaskType


@pytest.fixture(scope="module")
def process(postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    with one_api(postgres, session_folder, "api-tasks") as running:
        yield running


@pytest.fixture
async def api(process: Process) -> AsyncIterator[Client]:
    async with client_of(process) as client:
        yield client


@pytest.fixture
async def rows(process: Process) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with store.pool(process.settings, "test", 3) as pool:
        yield pool


def told(answer: httpx2.Response, status: int = 422) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


# -- create


async def test_a_task_is_created_with_the_defaults_of_its_type(api: Client) -> None:
    answer = await api.post("/api/tasks", json={"type": "test.typed", "payload": {"to": "a"}})
    task = ok(answer, 201)
    assert answer.headers["location"] == f"/api/tasks/{task['id']}"
    assert (task["queue"], task["max_retries"], task["timeout"], task["priority"], task["status"]) == ("typed", 1, 5.0, 1, "pending")
    assert task["created"] == task["updated"] == task["run_at"]
    assert task["created"].endswith("Z")
    assert not [name for name, value in task.items() if value is None]
    assert ok(await api.get(answer.headers["location"])) == {**task, "payload": {"to": "a"}}


async def test_every_field_of_a_task_is_kept(api: Client) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    fields = {
        "type": "test.work",
        "payload": {"seconds": 0.5},
        "priority": "high",
        "description": "größer",
        "metadata": {"tenant": "a", "deep": {"n": [1]}},
        "queue": "typed",
        "max_retries": 0,
        "timeout": 0.5,
        "deadline": "2099-01-01T00:00:00Z",
        "run_at": later,
        "unique_key": "all fields",
    }
    task = await api.task(ok(await api.post("/api/tasks", json=fields), 201))
    kept = {name: task[name] for name in fields}
    assert kept == {**fields, "priority": 2, "run_at": later.replace("+00:00", "Z")}


async def test_a_payload_is_kept_as_it_was_written(api: Client) -> None:
    payload = '{ "seconds" : 1.50e0 }'
    task = ok(await api.post("/api/tasks", content=f'{{"type":"test.work","payload":{payload}}}', headers={"content-type": "application/json"}), 201)
    assert f'"payload":{payload}' in (await api.get(f"/api/tasks/{task['id']}")).text


async def test_a_created_task_is_rung(api: Client, process: Process, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    task = await api.submit("test.work", priority="CRITICAL")
    row = await given.row(rows, as_id(task))
    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        assert await until(lambda: lane_head.oldest_rung_at(bus, "default", 3)) == row["rung_at"]


async def test_a_delayed_task_is_not_rung_and_runs_later_by_the_databases_clock(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    row = await given.row(rows, as_id(await api.submit("test.work", delay=60)))
    assert row["rung_at"] is None
    assert row["run_at"] == row["created"] + timedelta(seconds=60)  # type: ignore[operator]


async def test_all_field_errors_come_at_once(api: Client) -> None:
    answer = await api.post(
        "/api/tasks",
        json={
            "type": "test.typed",
            "payload": {"count": "many", "tags": [1], "too": "a"},
            "priority": "urgent",
            "queue": "typd",
            "timeout": 604_801,
            "deadline": "2020-01-01T00:00:00Z",
            "run_at": "2020-01-01T00:00:00Z",
            "delay": 1,
            "metadata": [],
            "retries": 1,
        },
    )
    found = told(answer)
    assert found.keys() == {
        "timeout", "retries", "queue", "priority", "payload.to", "payload.tags", "payload.count", "payload.too", "metadata", "delay", "deadline",
    }  # fmt: skip
    assert found["queue"] == "is not known; did you mean typed?; known are default, typed"
    assert found["payload.count"] == 'the value is not of type "integer"'
    body = answer.json()
    assert (body["code"], body["status"], body["retryable"], body["requiresUserInput"]) == ("validation_error", 422, False, True)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail", "alternativeAction"} <= body.keys()


async def test_an_unknown_type_is_refused_with_the_nearest_known_one(api: Client) -> None:
    assert "did you mean test.typed?" in told(await api.post("/api/tasks", json={"type": "test.tipped"}))["type"]
    assert "must have at most 64" in told(await api.post("/api/tasks", json={"type": "Test Typed"}))["type"]


async def test_a_type_can_be_used_as_soon_as_it_was_announced(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    told(await api.post("/api/tasks", json={"type": "just.announced"}))
    await catalogue.announce(rows, [TaskType("just.announced", "default", 3, 300.0, True, '{"type":"object"}')], ["default"])
    await api.submit("just.announced")


async def test_a_changed_schema_is_used_within_seconds(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await catalogue.announce(rows, [TaskType("changing", "default", 3, 300.0, True, '{"required":["old"]}')], ["default"])
    told(await api.post("/api/tasks", json={"type": "changing"}))
    await catalogue.announce(rows, [TaskType("changing", "default", 3, 300.0, True, '{"type":"object"}')], ["default"])

    async def taken() -> bool:
        return (await api.post("/api/tasks", json={"type": "changing"})).status_code == 201

    await until(taken, 4.0)


async def test_of_a_large_payload_the_first_error_is_told(api: Client) -> None:
    found = told(await api.post("/api/tasks", json={"type": "test.typed", "payload": {"to": "a", "tags": [1] * 100_000}}))
    assert found == {"payload.tags": "the value is not valid under any of the schemas listed in the 'anyOf' keyword"}


async def test_a_batch_that_is_wrong_everywhere_is_answered_quickly(api: Client) -> None:
    batch = [{"type": f"nobody.knows{number}", f"field{number}": 1} for number in range(1000)]
    async with asyncio.timeout(5):
        found = told(await api.post("/api/tasks/batch", json={"tasks": batch}))
    assert len(found) == 1000


async def test_a_deadline_before_the_start_is_refused(api: Client) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert "later than" in told(await api.post("/api/tasks", json={"type": "test.work", "deadline": soon, "delay": 120}))["deadline"]


@pytest.mark.parametrize("first", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("last", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "9999-01-01T00:00:00+14:00"])
async def test_times_at_the_edge_of_the_calendar_are_refused(api: Client, first: str, last: str) -> None:
    found = told(await api.post("/api/tasks", json={"type": "test.work", "run_at": first, "deadline": last}))
    assert found == {"run_at": "is outside the years 2 to 9998", "deadline": "is outside the years 2 to 9998"}


async def test_null_in_an_optional_field_means_not_given(api: Client) -> None:
    names = ["payload", "priority", "description", "metadata", "queue", "max_retries", "timeout", "deadline", "run_at", "delay", "unique_key"]
    task = ok(await api.post("/api/tasks", json={"type": "test.work", **dict.fromkeys(names)}), 201)
    assert (task["priority"], task["queue"], task["description"], task["metadata"]) == (1, "default", "", {})


async def test_the_versioned_tree_is_the_same(api: Client) -> None:
    answer = await api.post("/api/v1/tasks", json={"type": "test.work"})
    assert answer.headers["location"] == f"/api/v1/tasks/{ok(answer, 201)['id']}"
    assert ok(await api.get(answer.headers["location"]))["id"] == answer.json()["id"]


# -- batches


async def test_a_batch_creates_its_tasks_in_order(api: Client) -> None:
    items = await api.submit_many([{"type": "test.work", "description": str(number)} for number in range(1000)])
    assert [task["description"] for task in items] == [str(number) for number in range(1000)]
    assert len({task["id"] for task in items}) == 1000
    assert sorted(task["id"] for task in items) == [task["id"] for task in items]


async def test_a_bare_list_is_a_batch_too(api: Client) -> None:
    assert len(ok(await api.post("/api/tasks/batch", json=[{"type": "test.work"}]), 201)["items"]) == 1


async def test_a_batch_is_accepted_whole_or_not_at_all(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    batch = [{"type": "test.work", "description": "all or nothing"} for _ in range(10)]
    batch[3] = {**batch[3], "type": "test.typed", "payload": {"count": 1}}  # type: ignore[dict-item]
    assert told(await api.post("/api/tasks/batch", json={"tasks": batch})) == {"tasks[3].payload.to": "is required"}
    batch[3] = {"type": "test.work", "description": "poison"}
    await poison(rows)
    assert (await api.post("/api/tasks/batch", json={"tasks": batch})).status_code == 422
    assert await rows.fetchval("SELECT count(*) FROM tasks WHERE description = 'all or nothing'") == 0


async def poison(rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Let Postgres refuse tasks with this description."""
    await rows.execute("ALTER TABLE tasks DROP CONSTRAINT IF EXISTS poison")
    await rows.execute("ALTER TABLE tasks ADD CONSTRAINT poison CHECK (description <> 'poison') NOT VALID")


async def test_a_task_that_postgres_refuses_fails_alone(api: Client, process: Process, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await poison(rows)
    many = [{"type": "test.work", "description": "poison" if number == 70 else "neighbour"} for number in range(100)]
    answers = await asyncio.gather(*(api.post("/api/tasks", json=task) for task in many))
    assert [answer.status_code for answer in answers] == [201] * 70 + [422] + [201] * 29
    problem = answers[70].json()
    assert problem["code"] == "validation_error"
    assert "poison" not in problem["detail"]
    assert process.logged("submission refused by Postgres")
    assert await rows.fetchval("SELECT count(*) FROM tasks WHERE description = 'neighbour'") == 99


# -- read and list


async def test_what_is_not_there_is_not_found(api: Client) -> None:
    for path in ("/api/tasks/00000000-0000-7000-8000-000000000000", "/api/tasks/no-uuid", "/api/tasks/00000000-0000-7000-8000-000000000000/attempts"):
        problem = ok(await api.get(path), 404)
        assert problem["code"] == "not_found"
    assert (await api.delete("/api/tasks/00000000-0000-7000-8000-000000000000")).status_code == 404
    assert (await api.get("/api/tasks/00000000-0000-7000-8000-000000000000?wait=5")).status_code == 404


async def test_pages_hold_every_task_once_while_new_ones_come(api: Client) -> None:
    made = [task["id"] for task in await api.submit_many([{"type": "test.work", "metadata": {"set": "pages"}} for _ in range(25)])]
    seen: list[str] = []
    page: dict[str, Any] = {"next_cursor": None}
    while "next_cursor" in page:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = ok(await api.get("/api/tasks", params={"metadata": '{"set":"pages"}', "limit": 7, **cursor}))
        seen += [task["id"] for task in page["items"]]
        await api.submit("test.work", metadata={"set": "pages"})
    assert seen == made[::-1]


async def test_a_page_that_ends_the_list_has_no_cursor(api: Client) -> None:
    await api.submit_many([{"type": "test.work", "metadata": {"set": "exact"}} for _ in range(5)])
    assert "next_cursor" not in ok(await api.get("/api/tasks", params={"metadata": '{"set":"exact"}', "limit": 5}))
    assert "next_cursor" in ok(await api.get("/api/tasks", params={"metadata": '{"set":"exact"}', "limit": 4}))


async def test_filters_narrow_a_list(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    mark = {"metadata": {"set": "filters"}}
    first = await api.submit("test.work", priority="LOW", **mark)
    second = await api.submit("test.typed", {"to": "a"}, **mark)
    await api.cancel(second)
    third = await api.submit("test.thread", **mark)
    every = {"metadata": '{"set":"filters"}'}

    async def ids(**filters: object) -> list[str]:
        return [task["id"] for task in await api.tasks(**every, **filters)]

    assert await ids() == [third["id"], second["id"], first["id"]]
    assert await ids(status="cancelled") == [second["id"]]
    assert await ids(status="cancelled,completed,pending") == await ids()
    assert await ids(type=["test.work", "test.thread"]) == await ids(type="test.work, test.thread") == [third["id"], first["id"]]
    assert await ids(queue="typed") == [second["id"]]
    assert await ids(priority="low") == await ids(priority=0) == [first["id"]]
    assert await ids(created_from=second["created"], created_to=third["created"]) == [second["id"]]
    assert await ids(created_to=first["created"]) == []


async def test_a_list_has_no_payloads_and_the_wrong_parameters_are_told_at_once(api: Client) -> None:
    assert not [task for task in await api.tasks(limit=1000) if "payload" in task]
    found = told(await api.get("/api/tasks?limit=0&stauts=x&cursor=%00&status=done&queue=a&queue=b&created_from=now&metadata=%7B"))
    assert found.keys() == {"limit", "stauts", "cursor", "status", "queue", "created_from", "metadata"}
    assert found["stauts"] == "is not a parameter of this address; did you mean status?"
    assert told(await api.get("/api/queues?x=1")).keys() == {"x"}
    assert told(await api.post("/api/tasks?wait=1", json={"type": "test.work"})).keys() == {"wait"}


async def test_the_timeline_shows_ended_attempts(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(rows, "timeline")
    [claimed] = await given.running(rows, worker_id="timeline")
    assert await api.attempts(str(claimed.id)) == []
    await api.cancel(str(claimed.id))
    [attempt] = await api.attempts(str(claimed.id))
    assert (attempt["attempt"], attempt["worker_id"], attempt["outcome"], attempt["error"]["code"]) == (1, "timeline", "cancelled", "task_cancelled")


# -- cancel


async def test_a_pending_task_is_cancelled_and_cancelling_again_is_fine(api: Client) -> None:
    task = await api.submit("test.work")
    first = await api.cancel(task)
    assert (first["status"], first["error"]["code"], first["error"]["retryable"]) == ("cancelled", "task_cancelled", False)
    assert await api.cancel(task) == first == await api.task(task)


async def test_the_worker_of_a_cancelled_task_is_told_to_stop_it(api: Client, process: Process, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(rows, "told")
    [claimed] = await given.running(rows, worker_id="told")
    commands: list[subjects.Command] = []

    async def hear(message: Any) -> None:
        commands.append(subjects.read_command(message.data))

    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        await bus.subscribe(subjects.control("told"), hear)
        await bus.flush()
        assert (await api.cancel(str(claimed.id)))["status"] == "cancelled"
        await until(lambda: commands)
    assert commands == [subjects.Command([(claimed.id, claimed.attempt)])]


@pytest.mark.parametrize("status", ["completed", "failed", "dead_letter"])
async def test_what_is_at_rest_otherwise_is_not_cancelled(api: Client, rows: "asyncpg.Pool[asyncpg.Record]", status: str) -> None:
    [task_id] = await given.waiting(rows)
    await given.change(rows, task_id, f"status = '{status}', completed_at = now()")
    problem = ok(await api.delete(f"/api/tasks/{task_id}"), 409)
    assert problem["code"] == "invalid_input"
    assert status.replace("_", " ") in problem["detail"]
    assert (await api.task(str(task_id)))["status"] == status


async def test_a_cancel_and_a_claim_have_one_winner(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(rows, "racer")
    made = await api.submit_many([{"type": "test.work"} for _ in range(50)])

    async def claim() -> None:
        await given.tasks.claim(rows, [as_id(task) for task in made], "racer")

    answers, _ = await asyncio.gather(asyncio.gather(*(api.cancel(task) for task in made)), claim())
    assert {answer["status"] for answer in answers} == {"cancelled"}
    assert await rows.fetchval("SELECT count(*) FROM tasks WHERE worker_id = 'racer' AND status = 'running'") == 0
    ran = await rows.fetchval("SELECT count(*) FROM tasks WHERE worker_id = 'racer'")
    assert await rows.fetchval("SELECT count(*) FROM task_attempts WHERE worker_id = 'racer' AND outcome = 'cancelled'") == ran


# -- wait


async def test_a_wait_ends_as_soon_as_the_task_is_at_rest(api: Client) -> None:
    task = await api.submit("test.work")
    waiting = asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=20"))
    await waits(api, 1)
    await api.cancel(task)
    async with asyncio.timeout(0.9):  # sooner than the look into Postgres every second
        assert ok(await waiting)["status"] == "cancelled"


async def test_a_wait_ends_without_any_message_too(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    task = await api.submit("test.work")
    waiting = asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=20"))
    await waits(api, 1)
    await given.change(rows, as_id(task), "status = 'dead_letter'")
    async with asyncio.timeout(3):
        assert ok(await waiting)["status"] == "dead_letter"


async def test_a_wait_whose_time_is_up_gives_the_task_as_it_is(api: Client) -> None:
    task = await api.submit("test.work")
    assert ok(await api.get(f"/api/tasks/{task['id']}?wait=0.1"))["status"] == "pending"
    assert told(await api.get(f"/api/tasks/{task['id']}?wait=61")).keys() == {"wait"}


async def test_readers_that_leave_wait_no_longer(api: Client) -> None:
    task = await api.submit("test.work")
    waiting = [asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=60")) for _ in range(3)]
    await waits(api, 3)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await waits(api, 0)


async def waits(api: Client, count: int) -> None:
    """So many requests wait for a task."""

    async def there() -> bool:
        return f"waggle_http_waiting {count}.0\n" in (await api.get("/metrics")).text

    await until(there)


# -- overview


async def test_queues_show_the_depth_of_their_lanes(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(rows, "queues")
    await given.waiting(rows, 3, queue="lanes", priority=2)
    await given.waiting(rows, 2, queue="lanes", priority=2, delay=60.0)
    await given.running(rows, 1, worker_id="queues", queue="lanes", priority=0)
    await rows.execute("INSERT INTO queues (name, paused) VALUES ('lanes', true), ('empty', false)")
    found = {queue["name"]: queue for queue in ok(await api.get("/api/queues"))["items"]}
    nothing = {"ready": 0, "later": 0, "running": 0}
    assert found["lanes"] == {
        "name": "lanes", "paused": True, "ready": 3, "later": 2, "running": 1,
        "lanes": {"low": {**nothing, "running": 1}, "medium": nothing, "high": {"ready": 3, "later": 2, "running": 0}, "critical": nothing},
    }  # fmt: skip
    assert (found["empty"]["ready"], found["empty"]["paused"]) == (0, False)


async def test_workers_are_alive_as_long_as_their_lease(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(rows, "living")
    await given.alive(rows, "departed", seconds=0.0)
    found = {worker["id"]: worker for worker in ok(await api.get("/api/workers"))["items"]}
    assert (found["living"]["alive"], found["departed"]["alive"]) == (True, False)
    assert (found["living"]["queues"], found["living"]["lease"]) == (["default"], 15.0)


async def test_types_show_their_schemas(api: Client) -> None:
    found = {kind["name"]: kind for kind in ok(await api.get("/api/types"))["items"]}
    assert (found["test.typed"]["queue"], found["test.typed"]["max_retries"], found["test.final"]["dead_letter"]) == ("typed", 1, False)
    assert found["test.typed"]["schema"]["required"] == ["to"]


# -- metrics and logs


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
