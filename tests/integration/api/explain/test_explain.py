"""`/explain`: each reason is built, and the answer is that one."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.system import Client, Json, Services, client_of, ok
from waggle.errors import ErrorCode, TaskError
from waggle.store import leases, tasks
from waggle.store.leases import LeaseRow
from waggle.task import AttemptOutcome, Done, Failed, Snoozed, Tries, decide
from waggle_api.explain.reasons import ReasonCode

Pool = asyncpg.Pool
LIMITED = TaskError(ErrorCode.RATE_LIMIT_EXCEEDED, "answered 429", retryable=True)
BREAKER = TaskError(ErrorCode.SERVICE_UNAVAILABLE, "waiting for the circuit breaker smtp", retryable=True, details={"breaker": "smtp"})
WRONG = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "ValueError: no such account", retryable=True)


async def serving(rows: Pool, queue: str, *types: str) -> str:
    """A live worker of this queue."""
    lease = LeaseRow(id=f"{queue}-worker", host="h", pid=1, version="0", seconds=600.0, concurrency=10, queues=[queue], types=list(types or ["demo.echo"]))
    await rows.execute("DELETE FROM waggle.workers WHERE id = $1", lease.id)
    await leases.register(rows, lease)
    await rows.execute("INSERT INTO waggle.queues (name) VALUES ($1) ON CONFLICT DO NOTHING", queue)
    return lease.id


async def tried(rows: Pool, queue: str, outcome: Done | Failed | Snoozed, *, dead_letter: bool = True, **fields: object) -> UUID:
    """A task that was tried once."""
    claimed = (await given.running(rows, 1, await serving(rows, queue), queue=queue, **fields))[0]
    await tasks.settle(rows, [(given.fence(claimed, f"{queue}-worker"), decide(outcome, Tries(claimed.retry_count, claimed.max_retries, dead_letter)))])
    return claimed.id


async def a_delayed_one(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue)
    return (await given.waiting(rows, queue=queue, delay=600.0))[0]


async def one_in_backoff(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Failed(WRONG, after=600.0))


async def one_that_met_a_rate_limit(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Failed(LIMITED, after=600.0))


async def one_before_an_open_breaker(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Snoozed(600.0, error=BREAKER))


async def a_snoozed_one(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Snoozed(600.0))


async def one_put_off_without_a_handler(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Snoozed(30.0), type="demo.gone")


async def a_suspect(rows: Pool, queue: str) -> UUID:
    claimed = (await given.running(rows, 1, await serving(rows, queue), queue=queue))[0]
    await rows.execute("INSERT INTO waggle.task_attempts VALUES ($1, 1, 'w', now(), now(), 'lost')", claimed.id)
    await given.change(rows, claimed.id, "status = 'pending', worker_id = NULL, lost_count = 1, rung_at = NULL, run_at = now() + interval '5 s'")
    return claimed.id


async def one_past_its_deadline(rows: Pool, queue: str) -> UUID:
    task = (await given.waiting(rows, queue=queue))[0]
    await given.change(rows, task, "deadline = now() - interval '1 s'")
    return task


async def one_of_a_paused_queue(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue)
    await rows.execute("UPDATE waggle.queues SET paused = true WHERE name = $1", queue)
    return (await given.waiting(rows, queue=queue))[0]


async def one_that_no_worker_serves(rows: Pool, queue: str) -> UUID:
    return (await given.waiting(rows, queue=queue))[0]


async def one_whose_type_no_worker_has(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue, "demo.other")
    return (await given.waiting(rows, queue=queue))[0]


async def one_whose_payload_does_not_fit(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue, "test.work")
    return (await given.waiting(rows, queue=queue, type="test.work", payload='{"seconds": "long"}'))[0]


async def one_that_nobody_rang(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue)
    return (await given.waiting(rows, queue=queue, ring=False))[0]


async def one_whose_doorbell_is_lost(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue)
    task = (await given.waiting(rows, queue=queue))[0]
    await given.change(rows, task, "rung_at = now() - interval '1 min'")
    return task


async def one_that_runs(rows: Pool, queue: str) -> UUID:
    return (await given.running(rows, 1, await serving(rows, queue), queue=queue))[0].id


async def one_whose_worker_died(rows: Pool, queue: str) -> UUID:
    task = await one_that_runs(rows, queue)
    await given.gone(rows, f"{queue}-worker")
    return task


async def one_that_met_an_old_worker(rows: Pool, queue: str) -> UUID:
    await serving(rows, queue)
    why = TaskError(ErrorCode.VALIDATION_ERROR, "cannot read the payload", retryable=True, details={"version": "a", "reader": "b"})
    return await tried(rows, queue, Snoozed(600.0, error=why))


async def one_that_was_given_back(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Snoozed(600.0, AttemptOutcome.GIVEN_BACK))


async def a_completed_one(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Done(None))


async def one_whose_type_opted_out(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Failed(WRONG), max_retries=0, dead_letter=False)


async def a_dead_letter(rows: Pool, queue: str) -> UUID:
    return await tried(rows, queue, Failed(WRONG), max_retries=0)


CASES: dict[str, tuple[Callable[[Pool, str], Awaitable[UUID]], str]] = {
    "waits_for_time": (a_delayed_one, "It waits for its time, at "),
    "backoff": (one_in_backoff, "Its last attempt failed: task_execution_failed: ValueError: no such account; retry 1 of 3 comes at "),
    "rate_limited": (one_that_met_a_rate_limit, "What it calls limits the rate of calls: rate_limit_exceeded: answered 429; retry 1 of 3 comes at "),
    "breaker_open": (one_before_an_open_breaker, "The circuit breaker smtp was open; it tries again at "),
    "other_version": (one_that_met_an_old_worker, "A worker with another version of demo.echo could not read its payload; it is offered again at "),
    "snoozed": (a_snoozed_one, "Its handler asked to run again at "),
    "type_not_served": (one_put_off_without_a_handler, "No live worker of the queue type-not-served has a handler for demo.gone."),
    "suspect": (a_suspect, "It was lost with a worker that may have died of it: "),
    "deadline_passed": (one_past_its_deadline, "Its deadline passed at "),
    "queue_paused": (one_of_a_paused_queue, "The queue queue-paused is paused since "),
    "queue_not_served": (one_that_no_worker_serves, "No live worker serves the queue queue-not-served."),
    "type_not_served ": (one_whose_type_no_worker_has, "No live worker of the queue type-not-served- has a handler for demo.echo."),
    "payload_does_not_fit": (one_whose_payload_does_not_fit, "Its payload does not fit the handler of test.work"),
    "not_rung": (one_that_nobody_rang, "It is due since "),
    "doorbell_lost": (one_whose_doorbell_is_lost, "Its doorbell, rung at "),
    "running": (one_that_runs, "It runs on running-worker since "),
    "worker_lost": (one_whose_worker_died, "It was held by worker-lost-worker, whose lease is over"),
    "given_back": (one_that_was_given_back, "A worker gave it back without a try; it runs again at "),
    "completed": (a_completed_one, "It completed at "),
    "failed": (one_whose_type_opted_out, "It failed for good at "),
    "dead_letter": (a_dead_letter, "It is a dead letter since "),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_answer_is_the_reason(api: Client, rows: Pool, case: str) -> None:
    make, sentence = CASES[case]
    task = await make(rows, case.replace("_", "-").replace(" ", "-"))
    found = ok(await api.get(f"/api/tasks/{task}/explain"))
    assert [reason["code"] for reason in found["reasons"]] == [case.strip()]
    assert found["summary"].startswith(sentence)
    assert found["summary"] == found["reasons"][0]["text"]
    assert found["reasons"][0]["advice"]


def test_every_reason_has_its_case() -> None:
    assert {case.strip() for case in CASES} | {"in_lane", "nats_away", "cancelled"} == {code.value for code in ReasonCode}


async def test_without_nats_a_due_task_says_that(start: Services, pool: Pool) -> None:
    """Through an API that reaches no NATS."""
    api = await start("api", nats_url="nats://127.0.0.1:1")
    await serving(pool, "away")
    task = (await given.waiting(pool, queue="away", ring=False))[0]
    async with client_of(api) as client:
        found = ok(await client.get(f"/api/tasks/{task}/explain"))
    assert ([reason["code"] for reason in found["reasons"]], found["summary"][:10]) == (["nats_away"], "It is due,")


async def test_how_a_task_ended_is_said_with_who_cancelled_it(api: Client, rows: Pool) -> None:
    task = await a_delayed_one(rows, "cancels")
    cancelled = ok(await api.delete(f"/api/tasks/{task}"))
    found = ok(await api.get(f"/api/tasks/{task}/explain"))
    assert (found["reasons"][0]["code"], found["reasons"][0]["by"]) == ("cancelled", cancelled["error"]["details"]["by"])
    assert found["summary"].endswith(f" by {cancelled['error']['details']['by']}.")


async def test_who_paused_a_queue_is_said(api: Client, rows: Pool) -> None:
    await serving(rows, "stopped")
    task = (await given.waiting(rows, queue="stopped"))[0]
    ok(await api.post("/api/queues/stopped/pause"))
    reason = ok(await api.get(f"/api/tasks/{task}/explain"))["reasons"][0]
    assert reason["code"] == "queue_paused"
    assert reason["by"].startswith("key:")
    ok(await api.post("/api/queues/stopped/resume"))


async def test_the_place_in_the_lane_is_said(api: Client, rows: Pool) -> None:
    """By doorbells in the stream, which nobody takes here."""
    await serving(rows, "typed", "test.work")
    before = [ok(await api.post("/api/tasks", json={"type": "test.work", "queue": "typed"}), 201)["id"] for _ in range(3)]
    reason = ok(await api.get(f"/api/tasks/{before[-1]}/explain"))["reasons"][0]
    assert reason["code"] == "in_lane"
    assert reason["place"] >= 2
    assert "before it" in reason["text"]
    await rows.execute("DELETE FROM waggle.workers WHERE id = 'typed-worker'")


async def test_what_will_hold_it_next_is_said_too(api: Client, rows: Pool) -> None:
    task = await one_in_backoff(rows, "later")
    await rows.execute("UPDATE waggle.queues SET paused = true WHERE name = 'later'")
    assert [reason["code"] for reason in ok(await api.get(f"/api/tasks/{task}/explain"))["reasons"]] == ["backoff", "queue_paused"]


async def test_all_that_waits_is_counted_by_reason(api: Client, rows: Pool) -> None:
    for _ in range(3):
        await a_delayed_one(rows, "whole")
    await one_before_an_open_breaker(rows, "whole")
    groups = [group for group in ok(await api.get("/api/explain"))["items"] if group["queue"] == "whole"]
    assert [(group["code"], group["tasks"], group.get("breaker")) for group in groups] == [("waits_for_time", 3, None), ("breaker_open", 1, "smtp")]


async def test_a_task_that_is_not_there_is_not_found(api: Client) -> None:
    for what in ("explain", "timeline", "logs"):
        assert (await api.get(f"/api/tasks/01a204bd-0c59-707b-b6eb-5ce2e9f9ebd4/{what}")).status_code == 404


# the timeline


def drawn(events: list[Json]) -> list[str]:
    return [event["event"] if event["event"] != "ended" else event["outcome"] for event in events]


async def test_the_life_of_a_task_is_told_in_order(api: Client, rows: Pool) -> None:
    task = await a_dead_letter(rows, "life")
    await rows.execute(
        "INSERT INTO waggle.dead_letter_retries (task_id, attempt, how, retried_by, retried_at) VALUES ($1, 1, 'manual', 'user:anna', now())", task
    )
    error = tasks.as_text(tasks.cancelled_by("user:anna"))
    await given.change(rows, task, f"status = 'cancelled', completed_at = now(), error = '{error}'")
    events = ok(await api.get(f"/api/tasks/{task}/timeline"))["items"]
    assert drawn(events) == ["submitted", "started", "failed", "dead_letter", "retried", "cancelled"]
    assert events[0]["door"] == "sql"
    assert (events[2]["attempt"], events[2]["worker_id"], events[2]["error"]["message"]) == (1, "life-worker", WRONG.message)
    assert (events[4]["by"], events[4]["how"], events[5]["by"]) == ("user:anna", "manual", "user:anna")


async def test_a_submitted_task_says_by_whom_and_through_which_door(api: Client) -> None:
    task = ok(await api.post("/api/tasks", json={"type": "test.work", "delay": 600}), 201)
    events = ok(await api.get(f"/api/tasks/{task['id']}/timeline"))["items"]
    assert drawn(events) == ["submitted", "due"]
    assert events[0]["door"] == "rest"
    assert events[0]["by"].startswith("key:")


async def test_a_waiting_task_shows_its_ring(api: Client) -> None:
    task = ok(await api.post("/api/tasks", json={"type": "test.work"}), 201)
    assert drawn(ok(await api.get(f"/api/tasks/{task['id']}/timeline"))["items"]) == ["submitted", "rung"]


LARGE = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "ValueError: x", retryable=True, details={"traceback": "x" * (64 << 10)})


async def one_with_attempts(rows: Pool, queue: str, count: int, error: TaskError = LARGE) -> UUID:
    """A dead letter after many attempts; after the second one it was retried."""
    [task] = await given.waiting(rows, queue=queue)
    await rows.execute(
        """INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, error)
           SELECT $1, n, 'w', now() + n * interval '2 s', now() + n * interval '2 s' + interval '1 s', 'failed', $3 FROM generate_series(1, $2::int) n""",
        task,
        count,
        tasks.as_text(error),
    )
    await rows.execute(
        "INSERT INTO waggle.dead_letter_retries (task_id, attempt, how, retried_by, retried_at) VALUES ($1, 2, 'manual', 'a', now() + interval '5.5 s')", task
    )
    await given.change(rows, task, f"status = 'dead_letter', attempt = {count}, retry_count = {count - 1}, max_retries = {count - 1}, rung_at = NULL")
    return task


async def pages(api: Client, path: str, limit: int, **query: object) -> list[list[Json]]:
    found: list[list[Json]] = []
    cursor: Json = {}
    while True:
        page = ok(await api.get(path, params={"limit": limit, **query, **cursor}))
        found.append(page["items"])
        if "next_cursor" not in page:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_a_long_life_is_told_in_small_pages(api: Client, rows: Pool) -> None:
    task = await one_with_attempts(rows, "long", 150)
    answer = await api.get(f"/api/tasks/{task}/timeline")
    assert len(ok(answer)["items"]) == 50
    assert len(answer.content) < 20_000
    events = [event for page in await pages(api, f"/api/tasks/{task}/timeline", 1_000) for event in page]
    assert drawn(events) == ["submitted", *["started", "failed"] * 2, "dead_letter", "retried", *["started", "failed"] * 148, "dead_letter"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert events[2]["error"]["details"] == {"details_dropped": "they have 65553 bytes, and of an attempt up to 4096 are shown"}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 50])
async def test_pages_of_every_size_have_every_event_once(limit: int, api: Client, rows: Pool) -> None:
    task = await one_with_attempts(rows, f"pages-{limit}", 6)
    path = f"/api/tasks/{task}/timeline"
    [whole], parts = await pages(api, path, 1_000), await pages(api, path, limit)
    assert [event for page in parts for event in page] == whole
    assert [len(page) for page in parts[:-1]] == [limit] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= limit


async def test_a_timeline_can_begin_after_an_attempt(api: Client, rows: Pool) -> None:
    task = await one_with_attempts(rows, "after", 6)
    path = f"/api/tasks/{task}/timeline"
    assert drawn((await pages(api, path, 3, after_attempt=4))[0]) == ["started", "failed", "started"]
    assert [event["attempt"] for page in await pages(api, path, 3, after_attempt=4) for event in page] == [5, 5, 6, 6, 6]
    assert await pages(api, path, 3, after_attempt=9) == [[]]


async def test_a_cursor_behind_the_end_leads_to_the_end(api: Client, rows: Pool) -> None:
    task = await a_delayed_one(rows, "behind")
    assert ok(await api.get(f"/api/tasks/{task}/attempts", params={"cursor": "_" * 12})) == {"items": []}
    assert ok(await api.get(f"/api/tasks/{task}/timeline", params={"cursor": "_" * 12})) == {"items": []}


async def test_attempts_have_pages_too(api: Client, rows: Pool) -> None:
    task = await one_with_attempts(rows, "attempts", 7)
    path = f"/api/tasks/{task}/attempts"
    assert [[one["attempt"] for one in page] for page in await pages(api, path, 3)] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [[one["attempt"] for one in page] for page in await pages(api, path, 7)] == [[1, 2, 3, 4, 5, 6, 7]]
    assert [[one["attempt"] for one in page] for page in await pages(api, path, 3, after_attempt=5)] == [[6, 7]]
    [first, *_] = (await pages(api, path, 3))[0]
    assert first["error"]["details"]["details_dropped"].startswith("they have 65553 bytes")


async def test_small_details_of_an_attempt_are_shown(api: Client, rows: Pool) -> None:
    small = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "ValueError: x", retryable=True, details={"traceback": "x" * 4_000})
    task = await one_with_attempts(rows, "small", 1, small)
    for what in ("attempts", "timeline"):
        items = ok(await api.get(f"/api/tasks/{task}/{what}"))["items"]
        assert [one["error"]["details"] for one in items if "error" in one] == [small.details]


@pytest.mark.parametrize("cursor", ["x", "AAAAAAAAAAA", "AAAAAAAAAAA.", "AAAAAAAAAAAAAAAAAAAAAA"])
async def test_a_cursor_that_is_none_is_refused(cursor: str, api: Client, rows: Pool) -> None:
    task = await a_delayed_one(rows, "cursor")
    for what in ("attempts", "timeline"):
        answer = await api.get(f"/api/tasks/{task}/{what}", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


async def test_log_lines_have_pages_too(api: Client, rows: Pool) -> None:
    task = await one_with_attempts(rows, "logs", 120)
    line = '{"at": "2026-01-01T00:00:00Z", "level": "info", "event": "said"}'
    await rows.execute("UPDATE waggle.task_attempts SET logs = $2::json WHERE task_id = $1 AND attempt % 2 = 0", task, f"[{line}, {line}, {line}]")
    path, every = f"/api/tasks/{task}/logs", [(attempt, number) for attempt in range(2, 121, 2) for number in range(3)]
    for limit in (1, 4, 50, 1_000):
        found = await pages(api, path, limit)
        assert [(one["attempt"], one["number"]) for page in found for one in page] == every
        assert max(len(page) for page in found) <= limit
    assert [(one["attempt"], one["number"]) for one in (await pages(api, path, 2, attempt=4))[1]] == [(4, 2)]
    assert [(one["attempt"], one["number"]) for page in await pages(api, path, 2, after_attempt=118) for one in page] == every[-3:]
