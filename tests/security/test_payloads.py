"""Without payloads:read no answer holds a payload, a result or the words of an error, and each says what it hides."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from support.access import made
from support.processes import Process
from support.system import Client, Json, client_of, ok
from waggle.scopes import GRANTED, Scope

WORDS = "canary-in-the-payload"
ERROR = f'{{"code": "task_execution_failed", "message": "{WORDS}", "retryable": false, "details": {{"value": "{WORDS}"}}}}'


@pytest.fixture
async def blind(api: Client, process: Process) -> AsyncIterator[Client]:
    """A client that may do everything but read payloads."""
    async with client_of(process, await made(api, scopes=sorted(GRANTED - {Scope.ADMIN, Scope.PAYLOADS_READ}))) as client:
        yield client


async def task_with_all(api: Client, process: Process, status: str) -> Json:
    """A task with a payload, a result, an error and an attempt, all of which hold the words."""
    task = await api.submit("test.measured", {"body": WORDS}, delay=3600)
    connection = await asyncpg.connect(process.settings.postgres_url)
    try:
        await connection.execute(
            "UPDATE waggle.tasks SET status = $2, error = $3, result = $4, completed_at = now(), updated = now() WHERE id = $1",
            UUID(task["id"]),
            status,
            ERROR,
            f'{{"said": "{WORDS}"}}',
        )
        await connection.execute(
            """INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, error)
               VALUES ($1, 1, 'a-worker', now(), now(), 'failed', $2)""",
            UUID(task["id"]),
            ERROR,
        )
    finally:
        await connection.close()
    return task


async def test_no_answer_holds_what_the_key_may_not_read(api: Client, blind: Client, process: Process) -> None:
    done, dead = await task_with_all(api, process, "completed"), await task_with_all(api, process, "dead_letter")
    answers = [
        await blind.get(f"/api/tasks/{done['id']}"),
        await blind.get(f"/api/tasks/{done['id']}?wait=1"),
        await blind.get(f"/api/tasks/{done['id']}/attempts"),
        await blind.get(f"/api/tasks/{done['id']}/timeline"),
        await blind.get(f"/api/tasks/{dead['id']}/timeline"),
        await blind.get(f"/api/tasks/{done['id']}/explain"),
        await blind.get(f"/api/tasks/{dead['id']}/explain"),
        await blind.get("/api/tasks", params={"limit": 1000}),
        await blind.get("/api/dlq"),
        await blind.get("/api/dlq/groups"),
        await blind.get(f"/api/dlq/{dead['id']}"),
    ]
    for answer in answers:
        assert WORDS not in answer.text
        ok(answer)
    assert (await blind.get(f"/api/tasks/{done['id']}/logs")).status_code == 403
    shown = answers[0].json()
    assert shown["hidden"] == ["payload", "result", "error.message", "error.details"]
    assert not {"payload", "result"} & set(shown)
    assert shown["error"]["code"] == "task_execution_failed"
    assert shown["error"]["message"] == "(needs payloads:read)"
    assert answers[9].json()["items"][0]["hidden"] == ["message"]


async def test_who_may_read_payloads_sees_all_and_nothing_is_called_hidden(api: Client, process: Process) -> None:
    task = await task_with_all(api, process, "completed")
    shown = await api.task(task)
    assert (shown["payload"], shown["result"], shown["error"]["message"]) == ({"body": WORDS}, {"said": WORDS}, WORDS)
    assert "hidden" not in shown


async def test_the_text_of_errors_cannot_be_guessed_by_filters(blind: Client) -> None:
    for answer in (
        await blind.get("/api/dlq", params={"text": "canary"}),
        await blind.get("/api/dlq/groups", params={"text": "canary"}),
        await blind.post("/api/dlq/retry", json={"text": "canary", "dry_run": True}),
    ):
        assert answer.status_code == 403
        assert "payloads:read" in answer.json()["detail"]


async def test_a_submission_is_accepted_and_its_answer_hides_what_an_existing_task_holds(api: Client, blind: Client) -> None:
    await api.submit("test.measured", {"body": WORDS}, unique_key="held", delay=3600)
    answer = await blind.post("/api/tasks", json={"type": "test.measured", "payload": {"body": "mine"}, "unique_key": "held"})
    assert answer.status_code == 200
    assert WORDS not in answer.text
