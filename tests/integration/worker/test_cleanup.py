"""Cleanup hooks: called once when a task ended without success, whatever ended it, after its handler has really ended."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Json
from waggle import App
from waggle.store import postgres as store

Pool = asyncpg.Pool


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-cleanup") as found:
        yield found


@pytest.fixture
async def rows(system: OneSystem) -> AsyncIterator[Pool]:
    async with store.pool(system.settings, "test", 2) as made:
        yield made


async def cleaned(system: OneSystem, rows: Pool, task: Json) -> list[str]:
    """What the hook did, once nothing is owed to this task any more."""

    async def nothing_is_owed() -> bool:
        return not await rows.fetchval("SELECT EXISTS (SELECT FROM waggle.cleanups WHERE task_id = $1)", task["id"])

    await until(nothing_is_owed, 20.0)
    return system.did("cleaned", task["id"])


async def test_a_dead_letter_is_cleaned_up_after_once(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy"))
    assert await cleaned(system, rows, task) == ["cleaned:dead_letter:task_execution_failed:1"]
    assert (await client.task(task))["status"] == "dead_letter"


async def test_a_plain_hook_runs_in_a_thread_and_a_task_that_failed_for_good_has_its_hook_too(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy-thread"))
    assert await cleaned(system, rows, task) == ["cleaned:failed:task_execution_failed:False"]


async def test_the_hook_of_a_process_handler_runs_in_the_worker(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy-process"))
    assert await cleaned(system, rows, task) == ["cleaned:dead_letter:task_execution_failed:1"]


async def test_a_task_that_succeeds_has_nothing_to_clean_up(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy", {"do": "sleep"}))
    assert task["status"] == "completed"
    assert await cleaned(system, rows, task) == []


async def test_a_type_without_a_hook_leaves_nothing_to_do(client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("demo.fail", max_retries=0))
    assert not await rows.fetchval("SELECT EXISTS (SELECT FROM waggle.cleanups WHERE task_id = $1)", task["id"])


async def test_a_pending_task_that_was_cancelled_is_cleaned_up_after_though_it_never_ran(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.submit("test.tidy", run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await client.cancel(task)
    assert await cleaned(system, rows, task) == ["cleaned:cancelled:task_cancelled:0"]


@pytest.mark.parametrize(("how", "line"), [("cancel", "cleaned:cancelled:task_cancelled:1"), ("deadline", "cleaned:failed:task_timeout:1")])
async def test_a_running_handler_that_is_stopped_has_ended_before_its_hook_is_called(
    system: OneSystem, client: Client, rows: Pool, how: str, line: str
) -> None:
    fields = {"deadline": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()} if how == "deadline" else {}
    task = await client.submit("test.tidy", {"do": "sleep", "seconds": 60}, **fields)
    await until(lambda: system.did("began", task["id"]), 20.0)
    if how == "cancel":
        await client.cancel(task)
    assert await cleaned(system, rows, await client.wait(task)) == [line]
    assert system.did("", task["id"]) == ["began", "ended", line]


async def test_a_hook_that_fails_is_called_again(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy-badly"))
    assert await cleaned(system, rows, task) == ["cleaned"]
    assert system.did("tried", task["id"]) == ["tried", "tried"]
    assert system.worker.logged("cleanup failed, will be retried", task_id=task["id"])
    assert (await client.task(task))["status"] == "dead_letter"


async def test_a_hook_that_never_works_is_given_up(system: OneSystem, client: Client, rows: Pool) -> None:
    task = await client.wait(await client.submit("test.tidy-badly", {"how": "for ever"}))
    await until(lambda: system.did("tried", task["id"]), 20.0)
    await until(lambda: rows.fetchval("UPDATE waggle.cleanups SET tries = 4, due = now() WHERE task_id = $1 AND worker_id IS NULL RETURNING true", task["id"]))
    assert await cleaned(system, rows, task) == []
    [line] = system.worker.logged("cleanup failed, given up", task_id=task["id"])
    assert (line["tries"], line["error"]) == (5, "OddError: 3 and 4")


async def test_a_hook_that_ends_with_a_cancellation_of_its_own_has_failed_like_any_other(system: OneSystem, client: Client) -> None:
    task = await client.wait(await client.submit("test.tidy-cancelled"))
    [line, *_] = await until(lambda: system.worker.logged("cleanup failed, will be retried", task_id=task["id"]))
    assert line["tries"] == 1


async def test_tasks_of_a_batch_are_each_cleaned_up_after_once(system: OneSystem, client: Client, rows: Pool) -> None:
    tasks = await client.submit_many([{"type": "test.tidy"}] * 30)
    for task in tasks:
        assert len(await cleaned(system, rows, await client.wait(task))) == 1


def test_a_hook_that_cannot_be_called_is_refused_at_its_declaration() -> None:
    async def handler() -> None:
        await asyncio.sleep(0)

    def hook(only: object) -> None: ...

    with pytest.raises(TypeError, match=r"must accept \(ctx, error\)"):
        App().task("a.b", cleanup=hook)(handler)
