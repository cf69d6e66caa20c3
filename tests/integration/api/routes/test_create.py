"""Creating tasks, one by one and in batches, by real HTTP against one API with real servers."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from support import given
from support.facts import until
from support.one_api import as_id, poison
from support.processes import Process
from support.system import Client, ok, told
from waggle.bus import connection, lane_head
from waggle.store import catalogue
from waggle.store.catalogue import TaskType

Pool = asyncpg.Pool


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


async def test_a_created_task_is_rung(api: Client, process: Process, rows: Pool) -> None:
    task = await api.submit("test.work", priority="CRITICAL")
    row = await given.row(rows, as_id(task))
    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        assert await until(lambda: lane_head.oldest_rung_at(bus, "default", 3)) == row["rung_at"]


async def test_a_delayed_task_is_not_rung_and_runs_later_by_the_databases_clock(api: Client, rows: Pool) -> None:
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
    for name in ("Test Typed", ""):
        assert "must have at most 64" in told(await api.post("/api/tasks", json={"type": name}))["type"]
        assert "must have at most 64" in told(await api.post("/api/tasks", json={"type": name, "queue": "nowhere"}))["type"]
        batch = {"tasks": [{"type": name}, {"queue": "nowhere"}]}
        errors = told(await api.post("/api/tasks/batch", json=batch))
        assert "must have at most 64" in errors["tasks[0].type"]
        assert errors["tasks[1].type"] == "is required"


async def test_a_type_can_be_used_as_soon_as_it_was_announced(api: Client, rows: Pool) -> None:
    told(await api.post("/api/tasks", json={"type": "just.announced"}))
    await catalogue.announce(rows, [TaskType("just.announced", "default", 3, 300.0, True, '{"type":"object"}')], ["default"])
    await api.submit("just.announced")


async def test_a_changed_schema_is_used_within_seconds(api: Client, rows: Pool) -> None:
    await catalogue.announce(rows, [TaskType("changing", "default", 3, 300.0, True, '{"required":["old"]}')], ["default"])
    told(await api.post("/api/tasks", json={"type": "changing"}))
    await catalogue.announce(rows, [TaskType("changing", "default", 3, 300.0, True, '{"type":"object"}')], ["default"])

    async def taken() -> bool:
        return (await api.post("/api/tasks", json={"type": "changing"})).status_code == 201

    await until(taken, 4.0)


async def test_for_a_large_payload_the_first_error_is_reported(api: Client) -> None:
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


async def test_a_batch_creates_its_tasks_in_order(api: Client) -> None:
    items = await api.submit_many([{"type": "test.work", "description": str(number)} for number in range(1000)])
    assert [task["description"] for task in items] == [str(number) for number in range(1000)]
    assert len({task["id"] for task in items}) == 1000
    assert sorted(task["id"] for task in items) == [task["id"] for task in items]


async def test_a_bare_list_is_a_batch_too(api: Client) -> None:
    assert len(ok(await api.post("/api/tasks/batch", json=[{"type": "test.work"}]), 201)["items"]) == 1


async def test_a_batch_is_accepted_whole_or_not_at_all(api: Client, rows: Pool) -> None:
    batch = [{"type": "test.work", "description": "all or nothing"} for _ in range(10)]
    batch[3] = {**batch[3], "type": "test.typed", "payload": {"count": 1}}  # type: ignore[dict-item]
    assert told(await api.post("/api/tasks/batch", json={"tasks": batch})) == {"tasks[3].payload.to": "is required"}
    batch[3] = {"type": "test.work", "description": "poison"}
    await poison(rows)
    assert (await api.post("/api/tasks/batch", json={"tasks": batch})).status_code == 422
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE description = 'all or nothing'") == 0


async def test_a_task_that_postgres_refuses_fails_alone(api: Client, process: Process, rows: Pool) -> None:
    await poison(rows)
    many = [{"type": "test.work", "description": "poison" if number == 70 else "neighbour"} for number in range(100)]
    answers = await asyncio.gather(*(api.post("/api/tasks", json=task) for task in many))
    assert [answer.status_code for answer in answers] == [201] * 70 + [422] + [201] * 29
    problem = answers[70].json()
    assert problem["code"] == "validation_error"
    assert "poison" not in problem["detail"]
    assert process.logged("submission refused by Postgres")
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE description = 'neighbour'") == 99
