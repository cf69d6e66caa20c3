"""What an operator throws away: waiting tasks of a queue become cancelled, finished tasks are deleted."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.facts import until
from support.one_api import as_id
from support.processes import Process
from support.system import Client, ok, told
from waggle.bus import connection, subjects
from waggle.bus.connection import Bus
from waggle.store import tasks
from waggle_api.control import purging
from waggle_api.control.purging import PurgeFilter

Pool = asyncpg.Pool
PURGE = "/api/queues/{}/purge"


async def statuses(rows: Pool, ids: list[UUID]) -> set[str]:
    return {row["status"] for row in await rows.fetch("SELECT DISTINCT status FROM waggle.tasks WHERE id = ANY ($1)", ids)}


# queues


async def test_waiting_tasks_become_cancelled_and_running_ones_go_on(api: Client, rows: Pool) -> None:
    worker = await given.alive(rows, "purge")
    waiting = [*await given.waiting(rows, 3, queue="purge"), *await given.waiting(rows, 2, queue="purge", delay=600.0)]
    running = [task.id for task in await given.running(rows, 2, worker_id=worker, queue="purge")]
    others = await given.waiting(rows, 2, queue="purge-not")
    assert ok(await api.post(PURGE.format("purge"))) == {"cancelled": 5}
    assert (await statuses(rows, waiting), await statuses(rows, running), await statuses(rows, others)) == ({"cancelled"}, {"running"}, {"pending"})
    task = await api.task(str(waiting[0]))
    assert (task["error"]["code"], task["updated"]) == ("task_cancelled", task["completed_at"])
    assert ok(await api.post(PURGE.format("purge"), json={})) == {"cancelled": 0}


async def test_a_purge_is_narrowed_by_priority_and_type(api: Client, rows: Pool) -> None:
    low, high = await given.waiting(rows, 2, queue="narrow", priority=0), await given.waiting(rows, 2, queue="narrow", priority=2)
    other = await given.waiting(rows, 2, queue="narrow", priority=2, type="demo.fail", delay=600.0)
    assert ok(await api.post(PURGE.format("narrow"), json={"priority": "high", "type": "demo.fail"})) == {"cancelled": 2}
    assert ok(await api.post(PURGE.format("narrow"), json={"priority": 0, "type": None})) == {"cancelled": 2}
    assert (await statuses(rows, low), await statuses(rows, high), await statuses(rows, other)) == ({"cancelled"}, {"pending"}, {"cancelled"})


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"prioritty": 1}, {"prioritty"}), ({"priority": 4, "type": "No Type"}, {"priority", "type"}), ({"priority": "urgent"}, {"priority"})],
)
async def test_invalid_fields_are_reported_at_once_and_nothing_is_cancelled(api: Client, rows: Pool, body: dict[str, object], fields: set[str]) -> None:
    waiting = await given.waiting(rows, 1, queue="careful")
    assert told(await api.post(PURGE.format("careful"), json=body)).keys() == fields
    assert (await api.post(PURGE.format("careful"), json=[1])).status_code == 400
    assert (await api.post(PURGE.format("careful"), content=b"{}", headers={"content-type": "text/plain"})).status_code == 415
    assert await statuses(rows, waiting) == {"pending"}


async def test_readers_that_wait_for_a_purged_task_are_answered(api: Client, process: Process, rows: Pool) -> None:
    waiting = await given.waiting(rows, 3, queue="told")
    heard: set[UUID] = set()

    async def hear(message: object) -> None:
        heard.update(subjects.read_settled(message.data))  # type: ignore[attr-defined]

    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        await bus.subscribe(subjects.SETTLED, hear)
        await bus.flush()
        ok(await api.post(PURGE.format("told")))
        await until(lambda: set(waiting) <= heard)


async def test_a_purge_and_claims_have_one_winner_for_each_task(api: Client, rows: Pool) -> None:
    worker = await given.alive(rows, "purge racer")
    made = await given.waiting(rows, 200, queue="raced")

    async def claim() -> int:
        return sum([len(await tasks.claim(rows, made[start : start + 20], worker)) for start in range(0, 200, 20)])

    answer, claimed = await asyncio.gather(api.post(PURGE.format("raced")), claim())
    assert ok(answer)["cancelled"] + claimed == 200
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE queue = 'raced' AND status = 'running'") == claimed
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE queue = 'raced' AND status = 'cancelled' AND attempt > 0") == 0


async def test_a_purge_in_many_batches_leaves_what_came_after_it_began(pool: Pool, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "CANCEL_BATCH", 7)
    monkeypatch.setattr(purging, "LOOKUP_LIMIT", 20)
    waiting = [*await given.waiting(pool, 60), *await given.waiting(pool, 45, delay=600.0)]
    later = await given.waiting(pool, 5)
    await given.change(pool, later, "created = now() + interval '1 minute'")
    assert await purging.purge(pool, bus, PurgeFilter("default"), "key:one") == (105, False)
    assert (await statuses(pool, waiting), await statuses(pool, later)) == ({"cancelled"}, {"pending"})


async def test_a_purge_whose_time_is_over_says_that_there_is_more_and_the_next_one_goes_on(pool: Pool, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "CANCEL_BATCH", 40)
    await given.waiting(pool, 100)
    assert await purging.purge(pool, bus, PurgeFilter("default"), "key:one", seconds=0.0) == (40, True)
    assert await purging.purge(pool, bus, PurgeFilter("default"), "key:one") == (60, False)


async def test_a_purge_ends_although_others_hold_what_is_left(pool: Pool, bus: Bus) -> None:
    held, *free = await given.waiting(pool, 10)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM waggle.tasks WHERE id = $1 FOR UPDATE", held)
        assert await purging.purge(pool, bus, PurgeFilter("default"), "key:one") == (9, False)
    assert (await statuses(pool, free), await statuses(pool, [held])) == ({"cancelled"}, {"pending"})


# finished tasks


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_finished_task_is_deleted_with_its_attempts(api: Client, rows: Pool, status: str) -> None:
    worker = await given.alive(rows, f"deleted {status}")
    ids = [task.id for task in await given.running(rows, 2, worker_id=worker)]
    await given.change(rows, ids, f"status = '{status}', completed_at = now()")
    await rows.execute("INSERT INTO waggle.task_attempts SELECT unnest($1::uuid[]), 1, 'w', now(), now(), 'completed'", ids)
    await rows.execute("INSERT INTO waggle.dead_letter_retries (task_id, attempt, how, payload) SELECT unnest($1::uuid[]), 1, 'manual', '{}'", ids)
    answer = await api.delete(f"/api/tasks/{ids[0]}?purge=true")
    assert (answer.status_code, answer.content, "content-length" in answer.headers) == (204, b"", False)
    assert (await api.get(f"/api/tasks/{ids[0]}")).status_code == 404
    assert (await api.delete(f"/api/tasks/{ids[0]}?purge=true")).status_code == 404
    for table in ("task_attempts", "dead_letter_retries"):
        assert {row["task_id"] for row in await rows.fetch(f"SELECT task_id FROM waggle.{table} WHERE task_id = ANY ($1)", ids)} == {ids[1]}
    assert await statuses(rows, ids) == {status}


@pytest.mark.parametrize("status", ["pending", "running", "dead_letter"])
async def test_what_is_not_finished_is_not_deleted(api: Client, rows: Pool, status: str) -> None:
    [task_id] = await given.waiting(rows, queue="kept")
    await given.change(rows, task_id, f"status = '{status}', attempt = 1, worker_id = 'w', started_at = now()")
    problem = ok(await api.delete(f"/api/tasks/{task_id}?purge=true"), 409)
    assert (problem["code"], status.replace("_", " ") in problem["detail"]) == ("invalid_input", True)
    assert await statuses(rows, [task_id]) == {status}


async def test_purge_is_true_or_false(api: Client) -> None:
    task = await api.submit("test.work")
    assert told(await api.delete(f"/api/tasks/{task['id']}?purge=yes")).keys() == {"purge"}
    assert ok(await api.delete(f"/api/tasks/{task['id']}?purge=false"))["status"] == "cancelled"


async def test_the_key_of_a_deleted_task_does_not_run_its_work_again(api: Client, rows: Pool) -> None:
    async def submit(kind: str) -> tuple[int, dict[str, str]]:
        answer = await api.post("/api/tasks", json={"type": kind}, headers={"idempotency-key": "purged"})
        return answer.status_code, answer.json()

    status, task = await submit("test.work")
    assert status == 201
    await api.cancel(task["id"])
    assert (await api.delete(f"/api/tasks/{task['id']}?purge=true")).status_code == 204
    status, problem = await submit("test.work")
    assert (status, "deleted since" in problem["detail"]) == (409, True)
    assert (await submit("test.thread"))[0] == 422
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE id = $1", as_id(task)) == 0
