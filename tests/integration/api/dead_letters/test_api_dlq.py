"""`/api/dlq`: dead letters read, grouped, retried and removed, one by one. Each test has a type of its own."""

from uuid import uuid4

import asyncpg
import pytest

from support import given
from support.dlq_asked import ids, listed
from support.given_dead import dead, error_of
from support.system import Client, Json, ok
from waggle.nesting import LEVELS
from waggle.store import catalogue

Pool = asyncpg.Pool

SCHEMA = '{"type":"object","properties":{"to":{"type":"string"}},"required":["to"],"additionalProperties":false}'


async def test_a_dead_letter_is_listed_with_its_error_and_without_its_payload(api: Client, pool: Pool, kind: str) -> None:
    (task_id,) = await dead(pool, type=kind, payload='{"a": 1}', error=error_of("boom at 4711", exception="ValueError"))
    (item,) = await listed(api, type=kind)
    assert (item["id"], item["status"], item["error"]["message"]) == (str(task_id), "dead_letter", "boom at 4711")
    assert "payload" not in item
    one = ok(await api.get(f"/api/dlq/{task_id}"))
    assert one == {**item, "payload": {"a": 1}}


async def test_each_filter_narrows_the_list(api: Client, pool: Pool, kind: str) -> None:
    (slow,) = await dead(pool, type=kind, error=error_of("It took 5% too LONG", code="task_timeout"))
    (other,) = await dead(pool, type=kind, queue="typed", error=error_of("no"))
    await given.change(pool, slow, "updated = now() - interval '1 hour'")
    for filters, found in [
        ({"code": "task_timeout"}, [slow]),
        ({"code": "task_timeout,task_execution_failed"}, [other, slow]),
        ({"queue": "typed"}, [other]),
        ({"text": "5% too long"}, [slow]),
        ({"text": "_"}, []),
        ({"older_than": 1800}, [slow]),
        ({"newer_than": 1800}, [other]),
        ({"older_than": 1800, "queue": "typed"}, []),
    ]:
        assert ids(await listed(api, type=kind, **filters)) == [str(each) for each in found], filters


async def test_pages_follow_each_other_without_gap_and_the_last_that_died_comes_first(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 5, type=kind)
    for number, task_id in enumerate(made[:3]):
        await given.change(pool, task_id, f"updated = now() + {number} * interval '1 ms'")
    expected = [str(row[0]) for row in await pool.fetch("SELECT id FROM waggle.tasks WHERE type = $1 ORDER BY updated DESC, id DESC", kind)]
    seen: list[str] = []
    page: Json = {}
    while not seen or "next_cursor" in page:
        page = ok(await api.get("/api/dlq", params={"type": kind, "limit": 2, **({"cursor": page["next_cursor"]} if page else {})}))
        seen += ids(page["items"])
    assert seen == expected


async def test_groups_gather_what_died_of_the_same_whatever_ids_and_numbers_it_names(api: Client, pool: Pool, kind: str) -> None:
    for number in range(3):
        last = await dead(pool, type=kind, error=error_of(f"order {number} of 'customer {number}' not found: {uuid4()}", exception="KeyError"))
    await dead(pool, type=kind, error=error_of("order 7 of 'x' not found: 0", exception="IndexError"))
    large, small = await listed(api, "/api/dlq/groups", type=kind)
    assert (large["count"], large["type"], large["code"], large["error_class"]) == (3, kind, "task_execution_failed", "KeyError")
    assert large["message"] == "order # of '…' not found: #"
    assert large["example"] == str(last[0])
    assert large["first"] < large["last"]
    assert (small["count"], small["error_class"], small["first"]) == (1, "IndexError", small["last"])
    assert len(await listed(api, fingerprint=large["fingerprint"])) == 3
    assert len(await listed(api, "/api/dlq/groups", type=kind, limit=1)) == 1


async def test_a_retried_dead_letter_has_all_its_tries_again_and_keeps_counting_its_attempts(api: Client, pool: Pool, kind: str) -> None:
    (task_id,) = await dead(pool, type=kind)
    await given.change(pool, task_id, "retry_count = 3, lost_count = 1")
    task = ok(await api.post(f"/api/dlq/{task_id}/retry"))
    assert (task["status"], task["retry_count"], task["attempt"], task["lost_count"]) == ("pending", 0, 1, 1)
    assert task["error"]["message"] == "boom"
    row = await given.row(pool, task_id)
    assert (row["status"], row["worker_id"], row["fingerprint"]) == ("pending", None, None)
    assert row["run_at"] == row["updated"]
    assert ids(await listed(api, type=kind)) == []


async def test_a_retry_with_another_payload_keeps_the_first_one(api: Client, pool: Pool, kind: str) -> None:
    await catalogue.announce(pool, [catalogue.TaskType(kind, "default", 3, 300.0, True, SCHEMA)], ["default"])
    (task_id,) = await dead(pool, type=kind, payload='{"to":  "nobody"}')

    ok(await api.post("/api/tasks", json={"type": kind}), 422)  # an unknown type is looked up at once
    answer = await api.post(f"/api/dlq/{task_id}/retry", json={"payload": {"two": "x"}})
    problem = ok(answer, 422)
    assert {error["field"] for error in problem["errors"]} == {"payload.to", "payload.two"}
    for to in ("anna", "berta"):
        ok(await api.post(f"/api/dlq/{task_id}/retry", json={"payload": {"to": to}}))
        await pool.execute("UPDATE waggle.tasks SET status = 'dead_letter', updated = now() WHERE id = $1", task_id)
    one = ok(await api.get(f"/api/dlq/{task_id}"))
    assert (one["payload"], one["original_payload"]) == ({"to": "berta"}, {"to": "nobody"})
    kept = await pool.fetch("SELECT payload, how, retried_by FROM waggle.dead_letter_retries WHERE task_id = $1 ORDER BY retried_at", task_id)
    assert [tuple(row) for row in kept] == [('{"to":  "nobody"}', "manual", "key:TestAdmin000"), ('{"to":"anna"}', "manual", "key:TestAdmin000")]


BODIES = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "a payload that is no object": (b'{"payload":[]}', 422),
    "an unknown field": (b'{"payloads":{}}', 422),
    "a payload that is too large": (b'{"payload":{"to":"' + b"x" * (1 << 20) + b'"}}', 422),
    "a payload with U+0000": (b'{"payload":{"to":"\\u0000"}}', 422),
    "a payload one level too deep": (b'{"payload":' + b'{"a":' * (LEVELS + 1) + b"1" + b"}" * (LEVELS + 1) + b"}", 400),
    "a payload 2000 levels deep": (b'{"payload":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}", 400),
    "a body that is too large": (b'{"payload":{"to":"' + b"x" * (2 << 20) + b'"}}', 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=list(BODIES))
async def test_a_payload_that_cannot_be_taken_is_refused_and_nothing_is_retried(api: Client, pool: Pool, kind: str, body: bytes, status: int) -> None:
    (task_id,) = await dead(pool, type=kind)
    answer = await api.post(f"/api/dlq/{task_id}/retry", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert (await given.row(pool, task_id))["status"] == "dead_letter"


async def test_a_payload_of_a_mebibyte_is_taken(api: Client, pool: Pool, kind: str) -> None:
    (task_id,) = await dead(pool, type=kind)
    text = '{"a":"' + "x" * ((1 << 20) - 8) + '"}'
    ok(await api.post(f"/api/dlq/{task_id}/retry", content=f'{{"payload":{text}}}'.encode(), headers={"content-type": "application/json"}))
    assert (await given.row(pool, task_id))["payload"] == text


async def test_a_deadline_that_passed_and_a_unique_key_that_is_taken_are_conflicts(api: Client, pool: Pool, kind: str) -> None:
    (late,) = await dead(pool, type=kind)
    await given.change(pool, late, "deadline = now()")
    (clashing,) = await dead(pool, type=kind, unique_key="one")
    await given.waiting(pool, type=kind, unique_key="one")
    for task_id, reason in ((late, "deadline has passed"), (clashing, "same unique_key")):
        problem = ok(await api.post(f"/api/dlq/{task_id}/retry"), 409)
        assert problem["code"] == "invalid_input"
        assert reason in problem["detail"]
        assert (await given.row(pool, task_id))["status"] == "dead_letter"


@pytest.mark.parametrize("call", ["show", "retry", "remove"])
async def test_a_task_that_is_not_a_dead_letter_is_not_found_and_its_status_is_reported(api: Client, pool: Pool, kind: str, call: str) -> None:
    (task_id,) = await given.waiting(pool, type=kind)
    for path, detail in ((task_id, "the task is pending"), (uuid4(), "no task with this id"), ("x", "ids are UUIDs")):
        answer = await {
            "show": lambda path=path: api.get(f"/api/dlq/{path}"),
            "retry": lambda path=path: api.post(f"/api/dlq/{path}/retry"),
            "remove": lambda path=path: api.delete(f"/api/dlq/{path}"),
        }[call]()
        assert detail in ok(answer, 404)["detail"]


async def test_a_dead_letter_that_is_removed_is_failed_for_good(api: Client, pool: Pool, kind: str) -> None:
    (task_id,) = await dead(pool, type=kind)
    task = ok(await api.delete(f"/api/dlq/{task_id}"))
    assert task["status"] == "failed"
    assert task["completed_at"] == task["updated"]
    assert task["error"]["message"] == "boom"
    assert "the task is failed" in ok(await api.delete(f"/api/dlq/{task_id}"), 404)["detail"]


async def test_a_body_that_is_too_large_is_refused_with_the_limit(api: Client) -> None:
    for path, limit in [("/api/dlq/retry", "256 KiB"), ("/api/queues/default/purge", "64 KiB"), (f"/api/dlq/{uuid4()}/retry", "2 MiB")]:
        problem = ok(await api.post(path, content=b" " * (2 << 20) + b"{}", headers={"content-type": "application/json"}), 413)
        assert problem["detail"] == f"the body may have up to {limit}"


PARAMETERS = {
    "an unknown one": ("/api/dlq?typ=x", "did you mean type?"),
    "a code that is none": ("/api/dlq?code=task_timeot", "did you mean task_timeout?"),
    "a cursor that is none": ("/api/dlq?cursor=abc", "is not a cursor"),
    "a cursor with an impossible time": (f"/api/dlq?cursor={'_' * 32}", "is not a cursor"),
    "an age that is none": ("/api/dlq?older_than=x", "must be a number"),
    "a text that is too long": (f"/api/dlq?text={'x' * 201}", "must have 1 to 200 characters"),
    "a fingerprint that is none": ("/api/dlq/groups?fingerprint=xyz", "must be the fingerprint"),
    "a cursor of groups": ("/api/dlq/groups?cursor=x", "is not a parameter"),
    "a filter of bulk retries": ("/api/dlq/retries?type=x", "is not a parameter"),
}


@pytest.mark.parametrize(("path", "message"), PARAMETERS.values(), ids=list(PARAMETERS))
async def test_an_invalid_parameter_is_refused(api: Client, path: str, message: str) -> None:
    assert message in ok(await api.get(path), 422)["errors"][0]["message"]
