"""`/api/dlq` in bulk: many dead letters retried at once, followed and cancelled, or cleaned up."""

from uuid import uuid4

import asyncpg
import pytest

from support import given
from support.dlq_asked import ids, listed
from support.given_dead import dead, error_of
from support.system import Client, Json, ok

Pool = asyncpg.Pool


async def test_a_dry_run_counts_and_does_nothing(api: Client, pool: Pool, kind: str) -> None:
    await dead(pool, 3, type=kind)
    assert ok(await api.post("/api/dlq/retry", json={"type": kind, "dry_run": True})) == {"matched": 3, "dry_run": True}
    assert len(await listed(api, type=kind)) == 3


async def test_a_small_bulk_retry_is_answered_when_it_has_ended(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 3, type=kind)
    await given.change(pool, made[0], "deadline = now()")
    await dead(pool, 1, type=kind, error=error_of("another", code="task_timeout"))
    answer = await api.post("/api/v1/dlq/retry", json={"type": [kind], "code": "task_execution_failed", "text": "BOOM", "queue": "default"})
    redrive = ok(answer)
    assert (redrive["state"], redrive["matched"], redrive["retried"], redrive["skipped"]) == ("completed", 3, 2, 1)
    assert redrive["filter"] == {"type": [kind], "code": ["task_execution_failed"], "text": "BOOM", "queue": "default"}
    assert (redrive["rate"], redrive["submitted_by"], redrive["failed_again"]) == (1000.0, "key:TestAdmin000", 0)
    assert answer.headers["location"] == f"/api/v1/dlq/retries/{redrive['id']}"
    assert redrive["ended_at"]
    assert "reason" not in redrive
    assert {row[0] for row in await pool.fetch("SELECT how FROM waggle.dead_letter_retries WHERE redrive_id = $1::uuid", redrive["id"])} == {"redrive"}
    assert len(await listed(api, type=kind)) == 2


async def test_a_bulk_retry_takes_ids_and_a_limit_and_begins_with_the_oldest(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 4, type=kind)
    for number, task_id in enumerate(made):
        await given.change(pool, task_id, f"updated = now() - {number} * interval '1 minute'")
    wanted = {"ids": [str(task_id) for task_id in made[:3]], "limit": 2}
    redrive = ok(await api.post("/api/dlq/retry", json=wanted))
    assert (redrive["state"], redrive["matched"], redrive["retried"], redrive["limit"]) == ("completed", 3, 2, 2)
    assert ids(await listed(api, type=kind)) == [str(made[0]), str(made[3])]


async def test_a_slow_bulk_retry_is_accepted_followed_and_cancelled(api: Client, pool: Pool, kind: str) -> None:
    await dead(pool, 5, type=kind)
    answer = await api.post("/api/dlq/retry", json={"type": kind, "rate": 0.1})
    redrive = ok(answer, 202)
    assert (redrive["state"], redrive["rate"]) == ("running", 0.1)
    path = answer.headers["location"]
    assert ok(await api.get(path))["state"] == "running"
    assert redrive["id"] in ids(await listed(api, "/api/dlq/retries"))
    for _ in range(2):
        cancelled = ok(await api.delete(path))
        assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by key:TestAdmin000")
    assert cancelled["retried"] < 5
    (ended,) = ids(await listed(api, "/api/dlq/retries", limit=1))
    assert ended == redrive["id"]


async def test_a_bulk_retry_that_has_ended_cannot_be_cancelled(api: Client, pool: Pool, kind: str) -> None:
    await dead(pool, type=kind)
    redrive = ok(await api.post("/api/dlq/retry", json={"type": kind}))
    assert "completed" in ok(await api.delete(f"/api/dlq/retries/{redrive['id']}"), 409)["detail"]


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_an_unknown_bulk_retry_is_not_found(api: Client, method: str) -> None:
    for path in (uuid4(), "x"):
        assert "no redrive" in ok(await getattr(api, method)(f"/api/dlq/retries/{path}"), 404)["detail"]


async def test_pages_of_bulk_retries_follow_each_other(api: Client, pool: Pool, kind: str) -> None:
    made = [ok(await api.post("/api/dlq/retry", json={"type": kind}))["id"] for _ in range(3)]
    first = ok(await api.get("/api/dlq/retries", params={"limit": 2}))
    second = ok(await api.get("/api/dlq/retries", params={"limit": 1, "cursor": first["next_cursor"]}))
    assert ids(first["items"] + second["items"]) == made[::-1]


REQUESTS = {
    "no filter": ({}, ["all"]),
    "all: false": ({"all": False}, ["all"]),
    "wrong fields, all of them": (
        {"typ": "x", "rate": 0, "limit": 0, "ids": [], "older_than": -1, "code": "oops"},
        ["typ", "rate", "limit", "ids", "older_than", "code"],
    ),
    "a rate that is almost none": ({"all": True, "rate": 1e-300}, ["rate"]),
    "names with a line's end": ({"queue": "mail\n", "fingerprint": "0123456789abcdef\n"}, ["queue", "fingerprint"]),
    "a fingerprint that is none": ({"fingerprint": "x"}, ["fingerprint"]),
    "an empty text": ({"text": ""}, ["text"]),
    "types that are none": ({"type": ["a.b", "A", "b*"]}, ["type", "type"]),
    "no type at all": ({"type": []}, ["type"]),
    "too many ids": ({"ids": [str(uuid4())] * 1001}, ["ids"]),
}


@pytest.mark.parametrize(("body", "fields"), REQUESTS.values(), ids=list(REQUESTS))
async def test_a_bulk_retry_that_is_wrong_is_refused_with_every_error(api: Client, body: Json, fields: list[str]) -> None:
    assert sorted(error["field"] for error in ok(await api.post("/api/dlq/retry", json=body), 422)["errors"]) == sorted(fields)


async def test_a_cleanup_on_request_takes_what_is_older_and_tells_how_many_are_left(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 3, type=kind)
    await given.change(pool, made[:2], "updated = now() - interval '20 years'")
    cleaned = ok(await api.post("/api/dlq/cleanup", json={"older_than": 10 * 365 * 86_400}))
    assert cleaned == {"cleaned": 2, "remaining": await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter'")}
    assert ok(await api.post("/api/dlq/cleanup"))["cleaned"] == 0
    assert ok(await api.post("/api/dlq/cleanup", json={"older": 1}), 422)["errors"][0]["field"] == "older"


async def test_all_retries_every_dead_letter(api: Client, pool: Pool, kind: str) -> None:
    await pool.execute("UPDATE waggle.tasks SET status = 'failed' WHERE status = 'dead_letter'")
    await dead(pool, 2, type=kind)
    assert ok(await api.post("/api/dlq/retry", json={"all": True}))["retried"] == 2
