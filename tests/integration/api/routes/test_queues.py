"""Queues as the API shows them: their depth, pause and resume, and the figures of their newest tasks."""

from typing import Any

import asyncpg
import httpx2
import pytest

from support import given
from support.facts import until
from support.processes import Process
from support.system import Client, Json, ok, told
from waggle.bus import connection, subjects
from waggle.store import catalogue, queues

Pool = asyncpg.Pool


async def announce(rows: Pool, *names: str) -> None:
    await rows.execute("INSERT INTO waggle.queues (name) SELECT unnest($1::text[])", list(names))


async def paused(rows: Pool, name: str) -> bool | None:
    found: bool | None = await rows.fetchval("SELECT paused FROM waggle.queues WHERE name = $1", name)
    return found


async def stats(api: Client, queue: str, **params: object) -> Json:
    return ok(await api.get(f"/api/queues/{queue}/stats", params=params))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/api/queues", "/api/queues/lanes"])
async def test_queues_show_the_depth_of_their_lanes(api: Client, rows: Pool, path: str) -> None:
    await rows.execute("DELETE FROM waggle.queues WHERE name IN ('lanes', 'empty')")
    await rows.execute("DELETE FROM waggle.tasks WHERE queue = 'lanes'")
    worker = await given.alive(rows, f"depth of {path}")
    await given.waiting(rows, 3, queue="lanes", priority=2)
    await given.waiting(rows, 2, queue="lanes", priority=2, delay=60.0)
    await given.running(rows, 1, worker_id=worker, queue="lanes", priority=0)
    await rows.execute("INSERT INTO waggle.queues (name, paused) VALUES ('lanes', true), ('empty', false)")
    answer = ok(await api.get(path))
    found = {queue["name"]: queue for queue in answer.get("items", [answer])}
    nothing = {"ready": 0, "later": 0, "running": 0}
    assert found["lanes"] == {
        "name": "lanes", "paused": True, "ready": 3, "later": 2, "running": 1,
        "lanes": {"low": {**nothing, "running": 1}, "medium": nothing, "high": {"ready": 3, "later": 2, "running": 0}, "critical": nothing},
    }  # fmt: skip
    if "items" in answer:
        assert (found["empty"]["ready"], found["empty"]["paused"]) == (0, False)


async def test_a_queue_is_paused_and_resumed_and_repeating_it_is_fine(api: Client, rows: Pool) -> None:
    await announce(rows, "toggled")
    for verb, is_paused in [("pause", True), ("pause", True), ("resume", False), ("resume", False)]:
        queue = ok(await api.post(f"/api/queues/toggled/{verb}"))
        assert (queue["name"], queue["paused"], queue["ready"]) == ("toggled", is_paused, 0)
        assert await paused(rows, "toggled") is is_paused


async def test_workers_are_notified_of_each_pause_and_resume(api: Client, process: Process, rows: Pool) -> None:
    await announce(rows, "hinted")
    heard: list[tuple[subjects.ControlMessage, bool | None]] = []

    async def hear(message: Any) -> None:
        heard.append((subjects.read_control_message(message.data), await paused(rows, "hinted")))

    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        await bus.subscribe(subjects.CONTROL_ALL, hear)
        await bus.flush()
        for verb in ("pause", "resume"):
            before = len(heard)
            ok(await api.post(f"/api/queues/hinted/{verb}"))
            await until(lambda before=before: len(heard) > before)  # type: ignore[misc]
    assert heard == [(subjects.ControlMessage(look=True), True), (subjects.ControlMessage(look=True), False)], "the hint follows the commit"


async def test_a_queue_that_only_its_tasks_know_can_be_paused_before_a_worker_announces_it(api: Client, rows: Pool) -> None:
    await given.waiting(rows, 2, queue="early")
    queue = ok(await api.post("/api/queues/early/pause"))
    assert (queue["paused"], queue["ready"]) == (True, 2)
    await catalogue.announce(rows, [catalogue.TaskType("early.bird", "early", 3, 300.0, True, "{}")], ["early"])
    assert await paused(rows, "early") is True


@pytest.mark.parametrize(("verb", "path"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("GET", "/stats"), ("POST", "/purge")])
async def test_an_unknown_queue_is_not_found_and_the_most_similar_one_is_named(api: Client, rows: Pool, verb: str, path: str) -> None:
    answer = await api.request(verb, f"/api/queues/defualt{path}")
    problem = ok(answer, 404)
    assert problem["code"] == "not_found"
    assert "did you mean default?" in problem["detail"]
    assert await paused(rows, "defualt") is None


async def test_parameters_that_are_none_are_refused(api: Client) -> None:
    assert told(await api.post("/api/queues/default/pause?for=60")).keys() == {"for"}
    assert told(await api.get("/api/queues/default/stats?window=86401&windwo=1")).keys() == {"window", "windwo"}
    assert (await api.get("/api/queues/default?x=1")).status_code == 422


# figures


async def test_figures_are_those_of_the_queues_own_tasks(api: Client, rows: Pool) -> None:
    await announce(rows, "figures")
    worker = await given.alive(rows, "figures")
    await rows.execute("UPDATE waggle.workers SET queues = '{figures,default}' WHERE id = $1", worker)
    await rows.execute("UPDATE waggle.workers SET queues = '{figures}' WHERE id = $1", await given.alive(rows, "figures too", seconds=0.0))
    await given.waiting(rows, 2, queue="figures")
    await given.waiting(rows, 1, queue="figures", delay=60.0)
    await given.waiting(rows, 5, queue="default")
    for status, outcome, count in [("completed", "completed", 6), ("dead_letter", "failed", 1), ("failed", "deadline", 1), ("cancelled", "cancelled", 1)]:
        ids = [task.id for task in await given.running(rows, count, worker_id=worker, queue="figures")]
        await given.change(rows, ids, f"status = '{status}', completed_at = now()")
        await rows.execute(
            "INSERT INTO waggle.task_attempts SELECT unnest($1::uuid[]), 1, $2, now() - interval '4 s', now(), $3 UNION ALL "
            "SELECT unnest($1::uuid[]), 2, $2, now() - interval '99 s', now(), 'given_back'",
            ids, worker, outcome,
        )  # fmt: skip
    found = await stats(api, "figures")
    since, window = found.pop("since"), found.pop("window")
    assert found == {
        "queue": "figures", "tasks_enqueued": 12, "tasks_completed": 6, "tasks_failed": 2, "active_workers": 1, "queue_length": 3,
        "processing_time": 4.0, "error_rate": 0.25,
    }  # fmt: skip
    assert window == 3600.0
    assert since.endswith("Z")


async def test_tasks_from_before_the_window_are_not_counted(api: Client, rows: Pool) -> None:
    await announce(rows, "windowed")
    ids = await given.waiting(rows, 3, queue="windowed")
    await given.change(rows, ids[:1], "created = now() - interval '50 s'")
    assert (await stats(api, "windowed", window=30))["tasks_enqueued"] == 2
    found = await stats(api, "windowed", window=90)
    assert (found["tasks_enqueued"], found["window"], found["queue_length"]) == (3, 90.0, 3)


async def test_an_empty_queue_has_zeros(api: Client, rows: Pool) -> None:
    await announce(rows, "nothing")
    found = await stats(api, "nothing")
    assert {name: value for name, value in found.items() if name not in ("queue", "window", "since")} == {
        "tasks_enqueued": 0, "tasks_completed": 0, "tasks_failed": 0, "active_workers": 0, "queue_length": 0, "processing_time": 0.0, "error_rate": 0.0,
    }  # fmt: skip


async def test_of_very_many_tasks_the_newest_are_counted_and_the_answer_says_since_when(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "WALKED", 5)
    old = await given.waiting(pool, 4)
    await given.change(pool, old, "created = now() - interval '40 s'")
    [oldest_counted] = await given.waiting(pool, 1)
    await given.change(pool, oldest_counted, "created = now() - interval '20 s'")
    await given.waiting(pool, 4)
    found = await queues.stats(pool, "default", 3600.0)
    assert (found["tasks_enqueued"], found["queue_length"]) == (5, 9)
    assert found["since"] == (await given.row(pool, oldest_counted))["created"]
    assert 20 <= found["window"] < 40


async def test_the_bodies_of_answers_are_those_of_an_unversioned_and_of_a_versioned_address(api: Client, rows: Pool) -> None:
    await announce(rows, "versioned")
    answers: list[httpx2.Response] = [await api.get(f"{prefix}/queues/versioned") for prefix in ("/api", "/api/v1")]
    assert answers[0].json() == answers[1].json()
