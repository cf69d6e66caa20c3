"""`/api/dlq`: dead letters read, grouped, retried and removed, one by one and in bulk. One API and one dlq service for all; each test has a type of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from support import given
from support.dlq_asked import a_retry, metric
from support.facts import until
from support.given_dead import dead, error_of
from support.one_api import one_api
from support.processes import Process, end, launch, ready
from support.servers import PostgresServer, run
from support.system import Client, Json, client_of, ok
from waggle.bus import connection, rpc, subjects
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import Refusal, Refused
from waggle.store import catalogue, dead_letters, redrives
from waggle.store import postgres as store

Pool = asyncpg.Pool

SCHEMA = '{"type":"object","properties":{"to":{"type":"string"}},"required":["to"],"additionalProperties":false}'
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def both(postgres: PostgresServer, session_folder: Path) -> Iterator[tuple[Process, Process]]:
    with one_api(postgres, session_folder, "api-dlq") as api:
        dlq = launch("dlq", msgspec.structs.replace(api.settings, dlq_redrive_rate=1000.0), session_folder / "api-dlq")
        try:
            run(ready(dlq))
            yield api, dlq
        finally:
            run(end(dlq))


@pytest.fixture
def process(both: tuple[Process, Process]) -> Process:
    return both[0]


@pytest.fixture
def dlq(both: tuple[Process, Process]) -> Process:
    return both[1]


@pytest.fixture
async def bus(process: Process) -> AsyncIterator[Bus]:
    async with connection.connection(process.settings, "test") as opened:
        await until(lambda: opened.connected)
        yield opened


@pytest.fixture
async def pool(process: Process) -> AsyncIterator[Pool]:
    async with store.pool(process.settings, "test", 2) as made:
        yield made


@pytest.fixture
async def api(process: Process) -> AsyncIterator[Client]:
    async with client_of(process) as client:
        yield client


@pytest.fixture
def kind() -> str:
    """A type that no other test uses."""
    return f"dead.n{next(_numbers)}"


async def listed(api: Client, path: str = "/api/dlq", **filters: Any) -> list[Json]:
    items: list[Json] = ok(await api.get(path, params=filters))["items"]
    return items


def ids(items: list[Json]) -> list[str]:
    return [item["id"] for item in items]


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
    expected = [str(row[0]) for row in await pool.fetch("SELECT id FROM tasks WHERE type = $1 ORDER BY updated DESC, id DESC", kind)]
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


async def test_a_dead_letter_that_is_retried_begins_anew_and_keeps_counting_its_attempts(api: Client, pool: Pool, kind: str) -> None:
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
        await pool.execute("UPDATE tasks SET status = 'dead_letter', updated = now() WHERE id = $1", task_id)
    one = ok(await api.get(f"/api/dlq/{task_id}"))
    assert (one["payload"], one["original_payload"]) == ({"to": "berta"}, {"to": "nobody"})
    kept = await pool.fetch("SELECT payload, how, retried_by FROM dead_letter_retries WHERE task_id = $1 ORDER BY retried_at", task_id)
    assert [tuple(row) for row in kept] == [('{"to":  "nobody"}', "manual", "anonymous"), ('{"to":"anna"}', "manual", "anonymous")]


BODIES = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "a payload that is no object": (b'{"payload":[]}', 422),
    "an unknown field": (b'{"payloads":{}}', 422),
    "a payload that is too large": (b'{"payload":{"to":"' + b"x" * (1 << 20) + b'"}}', 422),
    "a payload with U+0000": (b'{"payload":{"to":"\\u0000"}}', 422),
    "a payload nested too deeply": (b'{"payload":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}", 400),
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
async def test_what_is_no_dead_letter_is_not_found_and_its_status_is_told(api: Client, pool: Pool, kind: str, call: str) -> None:
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
    assert (redrive["rate"], redrive["submitted_by"], redrive["failed_again"]) == (1000.0, "anonymous", 0)
    assert answer.headers["location"] == f"/api/v1/dlq/retries/{redrive['id']}"
    assert redrive["ended_at"]
    assert "reason" not in redrive
    assert {row[0] for row in await pool.fetch("SELECT how FROM dead_letter_retries WHERE redrive_id = $1::uuid", redrive["id"])} == {"redrive"}
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
        assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by anonymous")
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
        assert "no bulk retry" in ok(await getattr(api, method)(f"/api/dlq/retries/{path}"), 404)["detail"]


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


async def test_a_body_that_is_too_large_is_told_how_much_it_may_have(api: Client) -> None:
    for path, limit in [("/api/dlq/retry", "256 KiB"), ("/api/queues/default/purge", "64 KiB"), (f"/api/dlq/{uuid4()}/retry", "2 MiB")]:
        problem = ok(await api.post(path, content=b" " * (2 << 20) + b"{}", headers={"content-type": "application/json"}), 413)
        assert problem["detail"] == f"the body may have {limit} at most"


PARAMETERS = {
    "an unknown one": ("/api/dlq?typ=x", "did you mean type?"),
    "a code that is none": ("/api/dlq?code=task_timeot", "did you mean task_timeout?"),
    "a cursor that is none": ("/api/dlq?cursor=abc", "is not a cursor"),
    "a cursor with an impossible time": (f"/api/dlq?cursor={'_' * 32}", "is not a cursor"),
    "an age that is none": ("/api/dlq?older_than=x", "must be a number"),
    "a text that is too long": (f"/api/dlq?text={'x' * 201}", "must have 1 to 200 characters"),
    "a fingerprint that is none": ("/api/dlq/groups?fingerprint=xyz", "must be a fingerprint"),
    "a cursor of groups": ("/api/dlq/groups?cursor=x", "is not a parameter"),
    "a filter of bulk retries": ("/api/dlq/retries?type=x", "is not a parameter"),
}


@pytest.mark.parametrize(("path", "message"), PARAMETERS.values(), ids=list(PARAMETERS))
async def test_a_parameter_that_is_wrong_is_refused(api: Client, path: str, message: str) -> None:
    assert message in ok(await api.get(path), 422)["errors"][0]["message"]


async def test_a_cleanup_on_request_takes_what_is_older_and_tells_how_many_are_left(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 3, type=kind)
    await given.change(pool, made[:2], "updated = now() - interval '20 years'")
    cleaned = ok(await api.post("/api/dlq/cleanup", json={"older_than": 10 * 365 * 86_400}))
    assert cleaned == {"cleaned": 2, "remaining": await pool.fetchval("SELECT count(*) FROM tasks WHERE status = 'dead_letter'")}
    assert ok(await api.post("/api/dlq/cleanup"))["cleaned"] == 0
    assert ok(await api.post("/api/dlq/cleanup", json={"older": 1}), 422)["errors"][0]["field"] == "older"


async def test_all_retries_every_dead_letter(api: Client, pool: Pool, kind: str) -> None:
    await pool.execute("UPDATE tasks SET status = 'failed' WHERE status = 'dead_letter'")
    await dead(pool, 2, type=kind)
    assert ok(await api.post("/api/dlq/retry", json={"all": True}))["retried"] == 2


async def test_a_repeated_command_is_harmless(dlq: Process, pool: Pool, bus: Bus) -> None:
    (task_id,) = await dead(pool)
    command = await a_retry(pool, task_id)
    await rpc.ask(bus, subjects.DLQ_RETRY, command, 10)
    with pytest.raises(Refused, match="the task is pending") as refused:
        await rpc.ask(bus, subjects.DLQ_RETRY, command, 10)
    assert refused.value.refusal is Refusal.NOT_FOUND
    assert await pool.fetchval("SELECT count(*) FROM dead_letter_retries WHERE task_id = $1", task_id) == 1


async def test_what_cannot_be_read_or_stored_is_refused_and_the_service_goes_on(dlq: Process, pool: Pool, bus: Bus) -> None:
    (task_id,) = await dead(pool)
    for data, refusal in [
        (b"not JSON", Refusal.UNREADABLE),
        (b"{}", Refusal.UNREADABLE),
        (await a_retry(pool, task_id, payload='{"no JSON'), Refusal.INVALID),
        (await a_retry(pool, task_id, seconds=-1), Refusal.TOO_LATE),
        (b"x" * (3 << 20) + b"x", Refusal.UNREADABLE),
    ]:
        with pytest.raises(Refused) as refused:
            await rpc.ask(bus, subjects.DLQ_RETRY, data, 10)
        assert refused.value.refusal is refusal
    await rpc.ask(bus, subjects.DLQ_RETRY, await a_retry(pool, task_id), 10)
    assert not dlq.logged("request crashed")


@pytest.mark.parametrize("rate", ["1e-300", "1e308", "-1"])
async def test_a_bulk_retry_at_an_impossible_rate_is_refused_and_breaks_no_service(dlq: Process, bus: Bus, pool: Pool, rate: str) -> None:
    redrive_id = uuid4()
    until_ = (await dead_letters.now(pool) + timedelta(seconds=5)).isoformat()
    command = f'{{"asked_by": "anna", "until": "{until_}", "id": "{redrive_id}", "filter": {{}}, "rate": {rate}}}'
    with pytest.raises(Refused) as refused:
        await rpc.ask(bus, subjects.DLQ_REDRIVE, command.encode(), 10)
    assert refused.value.refusal is Refusal.UNREADABLE
    assert await redrives.get(pool, redrive_id) is None


async def test_a_time_without_its_offset_is_refused(dlq: Process, bus: Bus) -> None:
    with pytest.raises(Refused) as refused:
        await rpc.ask(bus, subjects.DLQ_REMOVE, b'{"asked_by": "anna", "until": "2026-11-22T00:00:00", "id": "%s"}' % str(uuid4()).encode(), 10)
    assert refused.value.refusal is Refusal.UNREADABLE
    assert not dlq.logged("request crashed")


async def test_a_command_that_nobody_waits_for_is_not_done(dlq: Process, bus: Bus, pool: Pool) -> None:
    (task_id,) = await dead(pool)
    await bus.publish(subjects.DLQ_RETRY, await a_retry(pool, task_id))
    await bus.publish(subjects.DLQ_RETRY, b"not JSON")
    await until(lambda: dlq.logged("a request without a reply subject was left alone"))
    assert not dlq.logged("Task exception was never retrieved")
    assert await pool.fetchval("SELECT status FROM tasks WHERE id = $1", task_id) == "dead_letter"


async def test_its_endpoints_are_micro_services_that_can_be_listed(dlq: Process, bus: Bus) -> None:
    answer = await bus.request("$SRV.INFO.waggle-dlq")
    found = {endpoint["subject"] for endpoint in msgspec.json.decode(answer.data)["endpoints"]}
    assert found == {f"waggle.rpc.dlq.{verb}" for verb in ("retry", "remove", "cleanup", "redrive", "cancel")}


async def test_commands_are_told_by_lines_and_metrics(api: Client, dlq: Process, pool: Pool, kind: str) -> None:
    names = ('dlq_tasks_retried_total{how="redrive"}', 'dlq_redrives_ended_total{state="completed"}', "dlq_tasks_removed_total")
    before = [await metric(dlq, name) for name in names]
    await dead(pool, 3, type=kind)
    redrive = ok(await api.post("/api/dlq/retry", json={"type": kind}))
    (gone,) = await dead(pool, type=kind)
    ok(await api.delete(f"/api/dlq/{gone}"))
    ok(await api.post("/api/dlq/cleanup", json={"older_than": 99 * 365 * 86_400}))
    assert dlq.logged("redrive began", redrive_id=redrive["id"], matched=3, rate=1000.0, asked_by="anonymous")
    assert dlq.logged("redrive completed", redrive_id=redrive["id"], retried=3, asked_by="anonymous")
    assert dlq.logged("dead letter removed", task_id=str(gone), asked_by="anonymous")
    assert dlq.logged("dead letters cleaned up on request", cleaned=0, asked_by="anonymous")
    assert [await metric(dlq, name) - was for name, was in zip(names, before, strict=True)] == [3, 1, 1]
