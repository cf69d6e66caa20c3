"""Idempotency keys and unique keys: one key is one task, however many requests and processes compete for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from support import given
from support.facts import until
from support.one_api import as_id, poison
from support.processes import Process, service
from support.system import Client, client_of, ok

WORK = {"type": "test.work", "payload": {"seconds": 1}}


@pytest.fixture
async def other_api(process: Process, folder: Path) -> AsyncIterator[Client]:
    """A second API process on the same servers."""
    async with service("api", process.settings, folder) as other, client_of(other) as client:
        yield client


async def post(api: Client, key: str, task: object = WORK, path: str = "/api/tasks") -> httpx2.Response:
    return await api.post(path, json=task, headers={"idempotency-key": key})


def unique(key: str, **fields: Any) -> dict[str, Any]:
    return {**WORK, "unique_key": key, **fields}


async def held(rows: "asyncpg.Pool[asyncpg.Record]", key: str) -> int:
    """How many tasks have this unique key."""
    return int(await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE unique_key = $1", key))


# -- Idempotency-Key


async def test_a_repeated_key_gives_the_same_task(api: Client) -> None:
    first = await post(api, "again")
    second = await post(api, "again", {"payload": {"seconds": 1}, "type": "test.work"})  # the same, written in another order
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("0.1234567890123456781", "0.1234567890123456782", 422),
        ("12345678901234567890.1", "12345678901234567890.2", 422),
        ("12345678901234567890123", "12345678901234567890124", 422),
        ("1e-400", "1e-401", 422),
        ("1e-400", "0.0", 422),
        ("1.10", "1.1", 200),
        ("0.12345678901234567810", "12345678901234567.81e-17", 200),
        ("1E-400", "10e-401", 200),
        ("1e-99999999999999999999", "1e-99999999999999999999", 200),
    ],
)
async def test_every_digit_of_a_number_counts(api: Client, first: str, second: str, status: int) -> None:
    async def sent(number: str) -> int:
        body = f'{{"type": "test.work", "payload": {{"seconds": {number}}}}}'
        headers = {"idempotency-key": f"digits {first} {second}", "content-type": "application/json"}
        return (await api.post("/api/tasks", content=body.encode(), headers=headers)).status_code

    assert [await sent(first), await sent(second)] == [201, status]


@pytest.mark.parametrize(("bare", "quoted"), [("quoted", '"quoted"'), ('with "quotes" \\', '"with \\"quotes\\" \\\\"'), ('"half', '"half')])
async def test_a_quoted_key_is_the_same_as_a_bare_one(api: Client, bare: str, quoted: str) -> None:
    first = ok(await post(api, bare), 201)
    assert ok(await post(api, quoted)) == first


async def test_an_empty_quoted_key_is_refused(api: Client) -> None:
    assert "1 to 255" in ok(await post(api, '""'), 400)["detail"]


async def test_a_replay_shows_the_task_as_it_is_now(api: Client) -> None:
    task = ok(await post(api, "now"), 201)
    await api.cancel(task)
    assert ok(await post(api, "now"))["status"] == "cancelled"


async def test_a_key_with_another_body_is_refused(api: Client) -> None:
    task = ok(await post(api, "other body"), 201)
    said = ok(await post(api, "other body", {**WORK, "priority": 2}), 422)
    assert (said["code"], said["errors"]) == ("validation_error", [{"field": "Idempotency-Key", "message": "was used for another request"}])
    assert ok(await post(api, "other body", [WORK], "/api/tasks/batch"), 422)["retryable"] is False
    assert ok(await post(api, "other body"))["id"] == task["id"]


async def test_a_key_whose_tasks_were_deleted_since_is_a_conflict_that_says_so(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    task = ok(await post(api, "deleted"), 201)
    await rows.execute("DELETE FROM waggle.tasks WHERE id = $1", as_id(task))
    assert "deleted since" in ok(await post(api, "deleted"), 409)["detail"]


async def test_a_key_of_a_refused_request_is_free(api: Client) -> None:
    assert (await post(api, "refused", {"type": "unknown.type"})).status_code == 422
    assert (await post(api, "refused")).status_code == 201


async def test_fifty_at_once_with_one_key_give_one_task(api: Client, other_api: Client) -> None:
    answers = await asyncio.gather(*(post(client, "fifty") for client in (api, other_api) * 25))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count(None) == 1


async def test_at_once_with_one_key_and_two_bodies_one_body_wins(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    bodies = [{**WORK, "description": f"two bodies {number % 2}"} for number in range(40)]
    answers = await asyncio.gather(*(post(api, "two bodies", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201] + [422] * 20
    [row] = await rows.fetch("SELECT description FROM waggle.tasks WHERE description LIKE 'two bodies %'")
    winners = {body["description"] for body, answer in zip(bodies, answers, strict=True) if answer.status_code != 422}
    assert winners == {row["description"]}


async def test_many_keys_at_once_are_many_tasks(api: Client, other_api: Client) -> None:
    answers = await asyncio.gather(*(post(client, f"many {number}") for number in range(100) for client in (api, other_api)))
    assert sorted(answer.status_code for answer in answers) == [200] * 100 + [201] * 100
    assert len({answer.json()["id"] for answer in answers}) == 100


async def test_a_batch_with_a_key_is_one(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    batch = {"tasks": [{**WORK, "description": "batch with a key"}] * 100}
    answers = await asyncio.gather(*(post(api, "batch", batch, "/api/tasks/batch") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    [ids] = {tuple(task["id"] for task in answer.json()["items"]) for answer in answers}
    assert len(set(ids)) == 100
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE description = 'batch with a key'") == 100


# -- unique_key


async def test_a_unique_key_leads_to_the_unfinished_task_that_holds_it(api: Client) -> None:
    first = await api.post("/api/tasks", json=unique("order-1"))
    second = await api.post("/api/tasks", json=unique("order-1", priority=3))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert "idempotent-replayed" not in second.headers


async def test_a_unique_key_is_scoped_by_type(api: Client) -> None:
    await api.submit("test.work", unique_key="scope")
    await api.submit("test.thread", unique_key="scope")


async def test_a_unique_key_is_free_again_when_its_task_has_ended(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    first = await api.submit("test.work", unique_key="free again")
    await api.cancel(first)
    assert (await api.submit("test.work", unique_key="free again"))["id"] != first["id"]
    assert await held(rows, "free again") == 2


async def test_fifty_at_once_with_one_unique_key_give_one_task(api: Client, other_api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    answers = await asyncio.gather(*(client.post("/api/tasks", json=unique("race")) for client in (api, other_api) * 25))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await held(rows, "race") == 1


async def test_batches_with_the_same_unique_keys_in_any_order_do_not_block_each_other(
    api: Client, other_api: Client, rows: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    keys = [f"cross {number}" for number in range(50)]
    batches = [[unique(key) for key in (keys if number % 2 else keys[::-1])] for number in range(10)]
    answers = await asyncio.gather(*((api, other_api)[n % 2].post("/api/tasks/batch", json={"tasks": batch}) for n, batch in enumerate(batches)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    by_key: dict[str, set[str]] = {}
    for answer in answers:
        for task in answer.json()["items"]:
            by_key.setdefault(task["unique_key"], set()).add(task["id"])
    assert sorted(by_key) == sorted(keys)
    assert {len(ids) for ids in by_key.values()} == {1}


async def test_a_unique_key_twice_in_one_batch_is_one_task(api: Client) -> None:
    items = await api.submit_many([unique("twice"), unique("other"), unique("twice")])
    assert items[0]["id"] == items[2]["id"] != items[1]["id"]


async def test_a_key_stands_for_the_task_that_a_unique_key_led_to(api: Client) -> None:
    holder = await api.submit("test.work", {"seconds": 1}, unique_key="both")
    first = await post(api, "both", unique("both"))
    assert (first.status_code, first.json()["id"]) == (200, holder["id"])
    await api.cancel(holder)
    replayed = await post(api, "both", unique("both"))
    assert (ok(replayed)["id"], replayed.headers["idempotent-replayed"]) == (holder["id"], "true")


async def test_while_a_unique_key_is_taken_and_freed_all_the_time_every_request_is_answered(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    async def submit_and_cancel() -> None:
        for _ in range(10):
            answer = await api.post("/api/tasks", json=unique("churn"))
            assert answer.status_code in (200, 201, 503), answer.text
            if answer.status_code == 201:
                await api.cancel(answer.json())

    await asyncio.gather(*(submit_and_cancel() for _ in range(10)))

    async def free() -> bool:
        return await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE unique_key = 'churn' AND status = 'pending'") == 0

    await until(free)


async def test_a_task_that_postgres_refuses_fails_alone_among_keyed_ones_too(api: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    await poison(rows)
    answers = await asyncio.gather(*(post(api, f"poison {n}", {**WORK, "description": "poison" if n == 30 else ""}) for n in range(60)))
    assert [answer.status_code for answer in answers] == [201] * 30 + [422] + [201] * 29
    assert (await post(api, "poison 30")).status_code == 201  # nothing is left under its key
    assert await given.waiting(rows)
