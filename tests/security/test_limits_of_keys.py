"""A key that is limited to some queues or types: what is outside does not exist for it, in any answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from support.access import made, without_id
from support.processes import Process
from support.system import Client, Json, client_of, ok
from waggle.scopes import GRANTED, Scope

LISTS = ["/api/tasks", *(f"/api/tasks?{query}" for query in ("status=pending", "status=dead_letter", "queue=default", "type=test.measured"))]
WORK = sorted(GRANTED - {Scope.ADMIN})


@pytest.fixture
async def mine(api: Client, process: Process) -> AsyncIterator[Client]:
    """A client that may do everything with tasks of the queue `typed`, and nothing else."""
    async with client_of(process, await made(api, scopes=WORK, queues=["typed"])) as client:
        yield client


@pytest.fixture
async def echo_only(api: Client, process: Process) -> AsyncIterator[Client]:
    """A client of tasks of the type `test.work`."""
    async with client_of(process, await made(api, scopes=WORK, types=["test.work"])) as client:
        yield client


async def dead_letter(process: Process, task: Json) -> None:
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        await connection.execute(
            """UPDATE waggle.tasks SET status = 'dead_letter', error = '{"code": "internal_error", "message": "secret words", "retryable": false}',
               updated = now() WHERE id = $1""",
            UUID(task["id"]),
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("dead", [False, True])
async def test_a_foreign_task_answers_like_a_missing_one(api: Client, mine: Client, echo_only: Client, process: Process, dead: bool) -> None:
    foreign = await api.submit("test.measured", {"body": "x"}, delay=3600)
    if dead:
        await dead_letter(process, foreign)
    missing = str(UUID(int=99))
    calls = [
        ("GET", "/api/tasks/{}"),
        ("GET", "/api/tasks/{}?wait=5"),
        ("GET", "/api/tasks/{}/attempts"),
        ("GET", "/api/tasks/{}/explain"),
        ("GET", "/api/tasks/{}/timeline"),
        ("GET", "/api/tasks/{}/logs"),
        ("DELETE", "/api/tasks/{}"),
        ("DELETE", "/api/tasks/{}?purge=true"),
        ("GET", "/api/dlq/{}"),
        ("POST", "/api/dlq/{}/retry"),
        ("DELETE", "/api/dlq/{}"),
    ]
    for client in (mine, echo_only):
        for method, path in calls:
            found = without_id(await client.request(method, path.format(foreign["id"])))
            assert found == without_id(await client.request(method, path.format(missing))), (method, path)
            assert found[0] == 404
    assert (await api.task(foreign))["status"] == ("dead_letter" if dead else "pending")


async def test_what_waits_is_counted_inside_the_limits_only(api: Client, mine: Client, echo_only: Client) -> None:
    for kind, payload in (("test.typed", {"to": "a@example.com"}), ("test.work", {}), ("test.measured", {"body": "x"})):
        await api.submit(kind, payload, delay=3600)
    assert {group["queue"] for group in ok(await mine.get("/api/explain"))["items"]} == {"typed"}
    assert {group["type"] for group in ok(await echo_only.get("/api/explain"))["items"]} == {"test.work"}


async def test_own_tasks_are_worked_with_as_ever(mine: Client, process: Process) -> None:
    task = await mine.submit("test.typed", {"to": "a@example.com"}, delay=3600)
    assert (await mine.task(task))["payload"] == {"to": "a@example.com"}
    assert await mine.attempts(task) == []
    assert task["id"] in [found["id"] for found in await mine.tasks()]
    assert (await mine.cancel(task))["status"] == "cancelled"
    await dead_letter(process, await mine.submit("test.typed", {"to": "b@example.com"}, delay=3600))
    (dead,) = ok(await mine.get("/api/dlq"))["items"]
    assert dead["queue"] == "typed"
    assert ok(await mine.get("/api/dlq/groups"))["items"][0]["example"] == dead["id"]


async def test_lists_hold_no_foreign_task(api: Client, mine: Client, echo_only: Client, process: Process) -> None:
    foreign = await api.submit("test.measured", {"body": "x"}, delay=3600)
    dead = await api.submit("test.measured", {"body": "y"}, delay=3600)
    await dead_letter(process, dead)
    own = await echo_only.submit("test.work", {}, delay=3600)
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(client_of(process, await made(api, scopes=WORK, queues=["typed", "other"])))
        for client in (mine, echo_only, two):
            for path in (
                "/api/tasks",
                "/api/tasks?status=pending",
                "/api/tasks?status=dead_letter",
                "/api/tasks?queue=default",
                "/api/tasks?type=test.measured",
            ):
                ids = [task["id"] for task in ok(await client.get(path, params={"limit": 1000}))["items"]]
                assert foreign["id"] not in ids
                assert dead["id"] not in ids
            for path in ("/api/dlq", "/api/dlq?queue=default", "/api/dlq?type=test.measured"):
                assert dead["id"] not in [task["id"] for task in ok(await client.get(path))["items"]]
            assert dead["id"] not in [group["example"] for group in ok(await client.get("/api/dlq/groups"))["items"]]
    assert own["id"] in [task["id"] for task in await echo_only.tasks()]


async def test_nothing_is_submitted_outside_of_the_limits(api: Client, mine: Client, echo_only: Client) -> None:
    for client, body, told in (
        (mine, {"type": "test.work"}, "this key is limited to the queues typed"),
        (mine, {"type": "test.typed", "queue": "default", "payload": {"to": "x"}}, "this key is limited to the queues typed"),
        (mine, {"type": "test.typed", "queue": "no-such-queue", "payload": {"to": "x"}}, "this key is limited to the queues typed"),
        (echo_only, {"type": "test.typed", "payload": {"to": "x"}}, "this key is limited to tasks of the types test.work"),
        (echo_only, {"type": "no.such.type"}, "this key is limited to tasks of the types test.work"),
    ):
        before = len(await api.tasks(limit=1000))
        for path, sent in (("/api/tasks", body), ("/api/tasks/batch", {"tasks": [{"type": "test.work", "queue": "typed"}, body]})):
            answer = await client.post(path, json=sent)
            assert (answer.status_code, answer.json()["detail"]) == (403, told)
        assert len(await api.tasks(limit=1000)) == before


async def test_hints_name_nothing_outside_of_the_limits(mine: Client, echo_only: Client) -> None:
    unknown = await mine.post("/api/tasks", json={"type": "test.worc", "queue": "typed"})
    assert unknown.status_code == 422
    assert "test.work" not in unknown.text
    for path in ("/api/queues/defautl", "/api/queues/default", "/api/queues/default/stats"):
        answer = await mine.get(path)
        assert answer.status_code == 404
        assert "default" not in answer.json()["detail"]
    assert [queue["name"] for queue in ok(await mine.get("/api/queues"))["items"]] == ["typed"]
    assert [found["name"] for found in ok(await echo_only.get("/api/types"))["items"]] == ["test.work"]
    assert ok(await echo_only.get("/api/types/test.work"))["name"] == "test.work"
    answer = await echo_only.get("/api/types/test.typed")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no worker has announced a type with this name")


async def test_a_unique_key_does_not_show_its_foreign_holder(api: Client, mine: Client) -> None:
    holder = await api.submit("test.typed", {"to": "secret"}, queue="default", unique_key="taken", delay=3600)
    answer = await mine.post("/api/tasks", json={"type": "test.typed", "payload": {"to": "x"}, "unique_key": "taken"})
    assert answer.status_code == 409
    assert holder["id"] not in answer.text


async def test_queues_outside_of_the_limits_are_not_touched(api: Client, mine: Client, echo_only: Client) -> None:
    for verb in ("pause", "resume", "purge"):
        assert (await mine.post(f"/api/queues/default/{verb}")).status_code == 404
    assert not ok(await api.get("/api/queues/default"))["paused"]
    assert (await echo_only.post("/api/queues/default/pause")).status_code == 403
    assert (await echo_only.post("/api/queues/default/purge")).json()["detail"] == "your key is limited to some types: name one of them with `type`"
    assert (await echo_only.post("/api/queues/default/purge", json={"type": "test.typed"})).status_code == 403
    keep = await api.submit("test.measured", {"body": "x"}, delay=3600)
    ok(await echo_only.post("/api/queues/default/purge", json={"type": "test.work"}))
    assert (await api.task(keep))["status"] == "pending"


async def test_bulk_retries_count_and_reach_only_what_is_inside(api: Client, mine: Client, process: Process) -> None:
    foreign = await api.submit("test.measured", {"body": "x"}, delay=3600)
    own = await mine.submit("test.typed", {"to": "x"}, delay=3600)
    await asyncio.gather(dead_letter(process, foreign), dead_letter(process, own))
    inside = ok(await mine.post("/api/dlq/retry", json={"ids": [foreign["id"], own["id"]], "dry_run": True}))
    assert inside["matched"] == 1
    assert (
        ok(await mine.post("/api/dlq/retry", json={"all": True, "dry_run": True}))["matched"]
        < ok(await api.post("/api/dlq/retry", json={"all": True, "dry_run": True}))["matched"]
    )
    assert (await mine.post("/api/dlq/retry", json={"queue": "default", "dry_run": True})).status_code == 403
    async with client_of(process, await made(api, scopes=WORK, queues=["typed", "other"])) as two:
        answer = await two.post("/api/dlq/retry", json={"all": True, "dry_run": True})
        assert (answer.status_code, answer.json()["detail"]) == (403, "your key is limited to the queues other, typed: name one of them")
