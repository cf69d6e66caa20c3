"""Handlers and hooks that are no plain or async functions: wrapped ones, methods, objects, partials, and models as parameters."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, ok
from waggle.store import postgres as store

ORDER = {"lines": [{"article": "hive", "count": 2}, {"article": "smoker"}], "card": "4111-1111"}
HOME = {"street": "Meadow 1", "zip": "12345"}


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-declared", app="support.declared_handlers:app") as found:
        yield found


@pytest.fixture
async def rows(system: OneSystem) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with store.pool(system.settings, "test", 2) as made:
        yield made


async def result(client: Client, type_: str, payload: object = None) -> object:
    task = await client.wait(await client.submit(type_, payload))
    assert task["status"] == "completed", task
    return task["result"]


async def test_what_a_plain_wrapper_returns_is_awaited_on_the_loop_in_the_context_of_its_call(client: Client) -> None:
    assert await result(client, "declared.wrapped", {"n": 3}) == {"n": 3, "on the loop": True, "request": "set in handler"}


@pytest.mark.parametrize(
    ("type_", "payload", "expected"),
    [
        ("declared.wrapped-twice", None, 5),
        ("declared.wrapped-process", {"n": 4}, 4),
        ("declared.object", {"name": "bee"}, "hello bee"),
        ("declared.async-object", {"name": "bee"}, "hello bee, on the loop: True"),
        ("declared.method", {"name": "bee"}, "good morning bee, attempt 1"),
        ("declared.partial", None, "hello bee"),
        ("declared.partial", {"name": "wasp"}, "hello wasp"),
    ],
)
async def test_other_ways_to_declare_a_handler_work(type_: str, payload: object, expected: object, client: Client) -> None:
    assert await result(client, type_, payload) == expected


async def test_what_a_wrapped_handler_raises_keeps_its_meaning(client: Client) -> None:
    task = await client.wait(await client.submit("declared.wrapped-rejects"))
    assert (task["status"], task["error"]["message"], task["retry_count"]) == ("dead_letter", "never", 0)


async def test_a_wrapped_handler_is_cancelled_at_its_timeout(system: OneSystem, client: Client) -> None:
    task = await client.wait(await client.submit("declared.wrapped-sleeps", {"seconds": 60}, timeout=0.5))
    assert (task["status"], task["error"]["code"]) == ("dead_letter", "task_timeout")
    assert system.did("cancelled", task["id"]) == ["cancelled"]


async def test_a_wrapped_handler_is_cancelled_with_its_task(system: OneSystem, client: Client) -> None:
    task = await client.submit("declared.wrapped-sleeps", {"seconds": 60})
    await until(lambda: system.did("began", task["id"]), 10.0)
    await client.cancel(task)
    await until(lambda: system.did("cancelled", task["id"]), 10.0)


@pytest.mark.parametrize(
    ("type_", "did"),
    [("declared.wrapped-hook", "cleaned:True"), ("declared.object-hook", "cleaned:task_execution_failed"), ("declared.hook-in-context", "cleaned:True")],
)
async def test_a_hook_that_is_wrapped_or_an_object_runs(type_: str, did: str, system: OneSystem, client: Client, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    task = await client.wait(await client.submit(type_))
    await until(lambda: rows.fetchval("SELECT NOT EXISTS (SELECT FROM waggle.cleanups WHERE task_id = $1)", task["id"]), 20.0)
    assert system.did("cleaned", task["id"]) == [did]


async def test_models_of_pydantic_and_msgspec_are_parameters_and_results(client: Client) -> None:
    assert await result(client, "declared.models", {"order": ORDER, "to": HOME, "note": {"article": "x"}}) == {"article": "Meadow 1: hive,smoker", "count": 3}


async def test_the_catalogue_shows_their_schemas_and_the_api_checks_by_them(client: Client) -> None:
    found = next(one for one in ok(await client.get("/api/types"))["items"] if one["name"] == "declared.models")
    assert found["schema"]["required"] == ["order", "to"]
    answer = await client.post("/api/tasks", json={"type": "declared.models", "payload": {"order": {"lines": [{"article": "x", "count": 0}]}, "to": HOME}})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["payload.order.lines[0].count"]


async def test_a_secret_of_a_model_is_hidden(client: Client) -> None:
    task = await client.task(await client.submit("declared.models", {"order": ORDER, "to": HOME}))
    assert task["payload"]["order"]["card"] == "***"
