"""What becomes of a task, by what its handler does. One worker and one scheduler serve all tests of this file."""

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.processes import Process, end, launch, ready
from support.rest import at_rest
from support.servers import NatsServer, PostgresServer
from support.servers import run as run_async
from waggle.store import postgres as store

Pool = asyncpg.Pool
Rest = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="module")
def shared(session_folder: Path, postgres: PostgresServer) -> Iterator[FleetSettings]:
    """A database and a NATS server for this file."""
    folder = session_folder / "worker-tries"
    folder.mkdir(mode=0o711)
    (folder / "effects").touch()
    server = NatsServer(folder / "nats")
    with postgres.fresh_database("worker_tries") as url:
        yield FleetSettings(postgres_url=url, nats_url=server.url, lease=2.0, grace=2.0, concurrency=10, app="support.handlers:app")
    server.kill()


@pytest.fixture(scope="module")
def effects(shared: FleetSettings, session_folder: Path) -> Path:
    return session_folder / "worker-tries" / "effects"


@pytest.fixture(scope="module")
def worker(shared: FleetSettings, effects: Path) -> Iterator[Process]:
    processes = [launch(name, shared, effects.parent, environ={"EFFECTS": str(effects)}) for name in ("scheduler", "worker")]
    run_async(ready(*processes))
    yield processes[1]
    run_async(end(*processes))


@pytest.fixture
async def pool(shared: FleetSettings) -> AsyncIterator[Pool]:
    async with store.pool(shared, "test", 3) as made:
        yield made


@pytest.fixture
def run(pool: Pool, worker: Process) -> Rest:
    """Insert a task of this type and give its row once it is at rest."""

    async def rest(task_type: str, payload: object = None, seconds: float = 15.0, **fields: object) -> dict[str, Any]:
        [task_id] = await given.waiting(pool, ring=False, type=task_type, payload=json.dumps(payload or {}), **fields)
        return await at_rest(pool, task_id, seconds)

    return rest


async def test_a_task_is_run_and_its_result_kept(run: Rest) -> None:
    task = await run("test.work")
    assert (task["status"], task["result"], task["outcomes"]) == ("completed", '{"attempt":1}', ["completed"])
    assert task["completed_at"] >= task["started_at"] >= task["created"]


async def test_typed_parameters_get_the_fields_of_the_payload(run: Rest) -> None:
    task = await run("test.typed", {"to": "bee", "tags": ["a"]}, queue="typed")
    assert json.loads(task["result"]) == {"to": "bee", "count": 1, "tags": ["a"]}


async def test_a_plain_function_runs_in_a_thread(run: Rest) -> None:
    assert json.loads((await run("test.thread"))["result"]) == {"main": False}


async def test_a_failed_try_is_counted_and_run_again(run: Rest) -> None:
    task = await run("test.flaky", {"failures": 1})
    assert (task["status"], task["retry_count"], task["attempt"]) == ("completed", 1, 2)
    assert task["outcomes"] == ["failed", "completed"]
    assert task["error"] is None


async def test_a_task_that_used_up_its_tries_is_a_dead_letter(run: Rest) -> None:
    task = await run("test.flaky", {"failures": 9}, max_retries=1)
    error = json.loads(task["error"])
    assert (task["status"], task["retry_count"], task["outcomes"]) == ("dead_letter", 1, ["failed", "failed"])
    assert (error["code"], error["message"], error["retryable"]) == ("task_execution_failed", "RuntimeError: failure 2", True)
    assert task["completed_at"] is None


async def test_a_type_that_opted_out_of_the_dead_letter_queue_fails(run: Rest) -> None:
    task = await run("test.final", max_retries=0)
    assert task["status"] == "failed"
    assert task["completed_at"] is not None


async def test_a_rejected_task_is_not_tried_again(run: Rest) -> None:
    task = await run("test.reject")
    assert (task["status"], task["retry_count"], task["outcomes"]) == ("dead_letter", 0, ["failed"])


async def test_a_handler_can_ask_for_a_retry_that_costs_a_try(run: Rest) -> None:
    task = await run("test.retry")
    assert (task["status"], task["retry_count"], task["outcomes"]) == ("completed", 1, ["failed", "completed"])


async def test_a_snooze_costs_no_try(run: Rest) -> None:
    task = await run("test.snooze", max_retries=0)
    assert (task["status"], task["retry_count"], task["outcomes"]) == ("completed", 0, ["snoozed", "snoozed", "completed"])


async def test_a_task_that_snoozes_again_and_again_waits_a_second_from_the_eleventh_time_on(run: Rest, pool: Pool) -> None:
    task = await run("test.snooze.often", {"times": 12}, max_retries=0)
    assert (task["status"], len(task["outcomes"]), task["result"]) == ("completed", 13, "13")
    starts = [row["started_at"] for row in await pool.fetch("SELECT started_at FROM waggle.task_attempts WHERE task_id = $1 ORDER BY attempt", task["id"])]
    waits = [(later - before).total_seconds() for before, later in itertools.pairwise(starts)]
    assert all(wait >= 1 for wait in waits[10:])
    assert min(waits[:10]) < 1


async def test_signals_in_a_task_group_mean_what_they_mean_outside(run: Rest) -> None:
    snoozed, rejected = await run("test.group", max_retries=0), await run("test.group", {"reject": True}, max_retries=3)
    assert (snoozed["status"], snoozed["retry_count"], snoozed["outcomes"]) == ("completed", 0, ["snoozed", "completed"])
    assert (rejected["status"], rejected["retry_count"], json.loads(rejected["error"])["message"]) == ("dead_letter", 0, "never")


@pytest.mark.parametrize("task_type", ["test.tenant", "test.tenant.async", "test.tenant.process"])
async def test_what_a_handler_sets_in_its_context_no_other_run_sees(run: Rest, task_type: str) -> None:
    found = [await run(task_type, {"name": name}) for name in "abcdefghijkl"]  # more than there are slots
    assert {task["result"] for task in found} == {'"nobody"'}


async def test_a_payload_that_does_not_fit_cannot_be_cured_by_a_retry(run: Rest) -> None:
    task = await run("test.typed", {"to": 5}, queue="typed")
    assert (task["status"], task["retry_count"]) == ("dead_letter", 0)
    assert json.loads(task["error"])["code"] == "validation_error"


async def test_a_result_that_is_too_large_or_no_json_fails_for_good(run: Rest) -> None:
    for task in [await run("test.big", {"size": 1 << 20}), await run("test.odd")]:
        assert (task["status"], task["outcomes"], task["result"]) == ("dead_letter", ["failed"], None)


async def test_an_error_with_details_that_are_no_json_takes_nobody_with_it(run: Rest, worker: Process) -> None:
    found = await run("test.details")
    assert (found["status"], json.loads(found["error"])["message"]) == ("dead_letter", "never")
    assert worker.alive


async def test_a_handler_that_calls_exit_takes_nobody_with_it(run: Rest, worker: Process) -> None:
    task = await run("test.exit", max_retries=0)
    assert task["status"] == "dead_letter"
    assert worker.alive


async def test_a_timeout_cancels_an_async_handler(run: Rest, effects: Path) -> None:
    task = await run("test.work", {"seconds": 60}, timeout=1.0, max_retries=0)
    assert (task["status"], json.loads(task["error"])["code"]) == ("dead_letter", "task_timeout")
    assert f"cancelled {task['id']}" in effects.read_text()


async def test_a_timeout_gives_up_on_a_thread_which_can_notice_it(run: Rest, effects: Path) -> None:
    task = await run("test.watchful", timeout=1.0, max_retries=0)
    assert json.loads(task["error"])["code"] == "task_timeout"
    await until(lambda: f"noticed {task['id']}" in effects.read_text())


async def test_a_type_without_a_handler_waits_without_cost(pool: Pool, worker: Process) -> None:
    [task_id] = await given.waiting(pool, ring=False, type="nobody.knows")

    async def snoozed() -> bool:
        row = await given.row(pool, task_id)
        return row["status"] == "pending" and row["attempt"] == 1

    await until(snoozed)
    row = await given.row(pool, task_id)
    assert (row["retry_count"], row["rung_at"], row["worker_id"]) == (0, None, None)
    assert worker.logged("no handler for task type", task_id=str(task_id))


async def test_the_end_of_a_try_is_told_with_its_outcome_and_a_success_only_to_those_who_want_every_line(run: Rest, worker: Process) -> None:
    failed, done = await run("demo.fail", max_retries=0), await run("demo.echo")
    [line] = await until(lambda: worker.logged("try ended", task_id=str(failed["id"])))
    assert (line["level"], line["outcome"], line["attempt"]) == ("info", "failed", 1)
    assert line["seconds"] >= 0
    assert not worker.logged("try ended", task_id=str(done["id"]))
