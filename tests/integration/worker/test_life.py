"""The life of a worker: its slots, its lease, its end; each test has workers of its own, and a scheduler that rings for them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from support import given
from support.facts import until
from support.processes import Process, ready
from support.rest import at_rest
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus

Pool = asyncpg.Pool


@pytest.fixture
async def worker(start: Services, effects: Path) -> Process:
    await start("scheduler")
    return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=10)


@contextmanager
def hangups(what: signal.Handlers) -> Iterator[None]:
    """What a process that is started meanwhile does when its terminal is closed. Under nohup, the suite itself has that ignored."""
    before = signal.signal(signal.SIGHUP, what)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_the_slot_of_a_thread_that_timed_out_stays_taken_until_it_ends(pool: Pool, start: Services, effects: Path) -> None:
    await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=1)
    [slow] = await given.waiting(pool, ring=False, type="test.thread", payload='{"seconds": 1.5}', timeout=0.2, max_retries=0)
    assert (await at_rest(pool, slow))["status"] == "dead_letter"
    [next_one] = await given.waiting(pool, ring=False, type="test.work")
    await at_rest(pool, next_one)
    assert [line.split()[0] for line in effects.read_text().splitlines()] == ["began", "ended", "began", "ended"]


async def test_a_command_stops_a_handler_and_its_outcome_is_dropped(pool: Pool, start: Services, bus: Bus, effects: Path) -> None:
    """Its heartbeats, which would notice the cancel too, are 40 s apart."""
    await start("scheduler", lease=120.0)
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", lease=120.0)
    [task_id] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 60}')

    async def begun() -> str | None:
        row = await given.row(pool, task_id)
        return str(row["worker_id"]) if row["status"] == "running" else None

    worker_id = await until(begun)
    await until(lambda: "began" in effects.read_text())
    await pool.execute("UPDATE waggle.tasks SET status = 'cancelled' WHERE id = $1", task_id)
    await bus.publish(subjects.control(worker_id), subjects.control_message([(task_id, 1)]))
    await until(lambda: "cancelled" in effects.read_text())
    assert (await given.row(pool, task_id))["status"] == "cancelled"


async def test_heartbeats_notice_a_cancel_whose_command_was_lost(pool: Pool, worker: Process, effects: Path) -> None:
    [task_id] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 60}')
    await until(lambda: "began" in effects.read_text())
    await pool.execute("UPDATE waggle.tasks SET status = 'cancelled' WHERE id = $1", task_id)
    await until(lambda: "cancelled" in effects.read_text(), 15.0)


async def test_a_row_that_runs_here_only_by_the_database_is_given_back(pool: Pool, worker: Process) -> None:
    worker_id = await pool.fetchval("SELECT id FROM waggle.workers")
    [task_id] = await given.waiting(pool, ring=True, type="test.work")
    await given.change(pool, task_id, f"status = 'running', attempt = 1, worker_id = '{worker_id}', started_at = now() - interval '1 minute'")
    task = await at_rest(pool, task_id)
    assert (task["status"], task["retry_count"], task["outcomes"]) == ("completed", 0, ["given_back", "completed"])


async def test_suspects_start_with_one_and_nobody_else_waits_for_them(pool: Pool, worker: Process) -> None:
    async with pool.acquire() as connection, connection.transaction():  # so that no worker sees them before they are suspects
        suspects = await given.waiting(connection, 7, ring=False, type="test.together", payload='{"seconds": 0.2}')
        await given.change(connection, suspects, "lost_count = 1, retry_count = 1")
        [fresh] = await given.waiting(connection, ring=False, type="test.work")
    assert (await at_rest(pool, fresh, 2.0))["attempt"] == 1
    ran = [await at_rest(pool, task_id) for task_id in suspects]
    assert [(task["status"], task["attempt"], task["retry_count"]) for task in ran] == [("completed", 1, 1)] * 7
    assert sorted(int(task["result"]) for task in ran)[0] == 1
    assert max(int(task["result"]) for task in ran) > 1


async def test_suspects_on_their_last_try_run_one_at_a_time(pool: Pool, worker: Process) -> None:
    async with pool.acquire() as connection, connection.transaction():
        suspects = await given.waiting(connection, 4, ring=False, type="test.together", payload='{"seconds": 0.2}')
        await given.change(connection, suspects, "lost_count = 3, retry_count = 3")
    ran = [await at_rest(pool, task_id) for task_id in suspects]
    assert [(task["status"], task["attempt"], task["result"]) for task in ran] == [("completed", 1, "1")] * 4


async def test_a_process_handler_is_no_suspect(pool: Pool, worker: Process) -> None:
    async with pool.acquire() as connection, connection.transaction():
        [last] = await given.waiting(connection, ring=False, type="test.work", payload='{"seconds": 60}')
        [process] = await given.waiting(connection, ring=False, type="test.process")
        await given.change(connection, [last, process], "lost_count = 3, retry_count = 3")
    await until(lambda: pool.fetchval("SELECT status = 'running' FROM waggle.tasks WHERE id = $1", last), 10.0)
    assert (await at_rest(pool, process, 20.0))["status"] == "completed"


async def test_a_stopping_worker_finishes_what_it_can_and_gives_the_rest_back(pool: Pool, worker: Process, effects: Path) -> None:
    [short] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 1}')
    [long] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 60}')
    [thread] = await given.waiting(pool, ring=False, type="test.thread", payload='{"seconds": 60}')
    await until(lambda: effects.read_text().count("began") == 3)
    assert await worker.stop(15.0) == 0
    assert (await given.row(pool, short))["status"] == "completed"
    for task_id in (long, thread):
        row = await given.row(pool, task_id)
        assert (row["status"], row["retry_count"], row["worker_id"]) == ("pending", 0, None)
    assert await pool.fetchval("SELECT count(*) FROM waggle.workers") == 0
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'given_back'") == 2


async def test_a_worker_whose_terminal_is_closed_drains(pool: Pool, start: Services, effects: Path) -> None:
    with hangups(signal.SIG_DFL):
        worker = start.launch("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    await start("scheduler")
    await ready(worker)
    ids = await given.waiting(pool, 5, ring=False, type="test.work", payload='{"seconds": 0.5}')
    await until(lambda: effects.read_text().count("began") == 5)
    worker.process.send_signal(signal.SIGHUP)
    assert await worker.ended() == 0
    rows = [await given.row(pool, task_id) for task_id in ids]
    assert {(row["status"], row["attempt"], row["retry_count"], row["lost_count"]) for row in rows} == {("completed", 1, 0, 0)}


async def test_under_nohup_it_goes_on(pool: Pool, start: Services, effects: Path) -> None:
    with hangups(signal.SIG_IGN):
        worker = start.launch("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    await start("scheduler")
    await ready(worker)
    worker.process.send_signal(signal.SIGHUP)
    [task_id] = await given.waiting(pool, ring=False, type="test.work")
    assert (await at_rest(pool, task_id))["status"] == "completed"


async def test_doorbells_held_without_a_slot_go_to_somebody_who_has_one(pool: Pool, start: Services, effects: Path) -> None:
    await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=1)
    [long] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 60}')
    await until(lambda: "began" in effects.read_text())
    others = await given.waiting(pool, 20, ring=False, type="test.work")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=1)
    for task_id in others:
        assert (await at_rest(pool, task_id, 9.0))["status"] == "completed"
    assert (await given.row(pool, long))["status"] == "running"


async def test_a_worker_that_was_paused_past_its_lease_goes_on_under_a_new_id(pool: Pool, worker: Process, effects: Path) -> None:
    [task_id] = await given.waiting(pool, ring=False, type="test.work", payload='{"seconds": 4}')
    await until(lambda: "began" in effects.read_text())
    before = await pool.fetchval("SELECT id FROM waggle.workers")
    worker.pause()
    await until(lambda: pool.fetchval("SELECT status = 'pending' FROM waggle.tasks WHERE id = $1", task_id), 10.0, "the scheduler takes it back")
    worker.resume()
    task = await at_rest(pool, task_id)
    assert (task["status"], task["retry_count"], task["lost_count"], task["outcomes"]) == ("completed", 1, 1, ["lost", "completed"])
    assert task["worker_id"] != before
    assert [line.split()[0] for line in effects.read_text().splitlines()] == ["began", "cancelled", "began", "ended"]


@pytest.mark.parametrize("app", ["nowhere.tasks:app", "support.handlers:missing", "support.handlers:effect"])
async def test_an_app_that_cannot_be_loaded_is_told_at_the_start(start: Services, app: str) -> None:
    process = start.launch("worker", app=app)
    assert await process.ended() == 2
    assert app in process.tail()
