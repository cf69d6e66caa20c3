"""Handlers with `process=True`: each runs in a process of its own, and what happens to it ends that process and nothing else."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from support import given
from support.facts import until
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Json, Services
from waggle import App
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool

PROCESSES = 2


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-processes", handler_processes=PROCESSES) as found:
        yield found


def gone(pid: int) -> bool:
    """Whether a process has ended (an orphan may stay a zombie for a while)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def began(system: OneSystem, task: Json, times: int = 1) -> int:
    """The process in which the handler of this task began (for the so manyth time)."""
    found = await until(lambda: system.did("began", task["id"])[times - 1 :], 20.0, "the handler begins")
    return int(found[0].partition(":")[2])


async def test_it_runs_in_a_process_that_is_used_again(system: OneSystem, client: Client) -> None:
    results = [(await client.wait(await client.submit("test.process")))["result"] for _ in range(4)]
    assert all(result["parent"] == system.worker.pid != result["pid"] for result in results)
    assert len({result["pid"] for result in results}) <= PROCESSES


async def test_as_many_run_at_once_as_the_setting_says_and_the_others_wait(system: OneSystem, client: Client) -> None:
    tasks = await client.submit_many([{"type": "test.process", "payload": {"seconds": 0.3}, "timeout": 30}] * (3 * PROCESSES))
    done = [await client.wait(task) for task in tasks]
    assert {task["status"] for task in done} == {"completed"}
    assert len({task["result"]["pid"] for task in done}) <= PROCESSES


@pytest.mark.parametrize(
    ("do", "how", "details"),
    [
        ("kill", "was killed by SIGKILL", {"signal": "SIGKILL"}),
        ("exit", "ended with exit code 0", {"exit_code": 0}),
        ("segfault", "was killed by SIGSEGV", {"signal": "SIGSEGV"}),
        ("real-time signal", "was killed by signal 40", {"signal": "signal 40"}),
    ],
)
async def test_a_crash_is_a_failed_try_that_says_how_the_process_died(client: Client, do: str, how: str, details: Json) -> None:
    task = await client.wait(await client.submit("test.process", {"do": do}, max_retries=0))
    assert task["status"] == "dead_letter"
    assert task["error"]["code"] == "task_execution_failed"
    assert task["error"]["message"] == f"the handler's process died: it {how}"
    assert task["error"]["details"] == details


async def test_a_crash_is_tried_again(client: Client) -> None:
    task = await client.submit("test.process", {"do": "kill"}, max_retries=1)
    await client.wait(task, 20.0)
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in await client.attempts(task)] == [(1, "failed"), (2, "failed")]


async def test_a_timeout_kills_it_even_in_native_code(system: OneSystem, client: Client) -> None:
    task = await client.submit("test.process", {"do": "stand still"}, timeout=0.3, max_retries=0)
    found = await client.wait(task)
    assert (found["status"], found["error"]["code"]) == ("dead_letter", "task_timeout")
    assert gone(await began(system, task))


async def test_a_timeout_counts_from_the_start_of_the_handler_and_not_from_the_claim(client: Client) -> None:
    tasks = await client.submit_many([{"type": "test.process", "payload": {"seconds": 0.6}, "timeout": 1.5, "max_retries": 0}] * (4 * PROCESSES))
    assert {(await client.wait(task, 30.0))["status"] for task in tasks} == {"completed"}  # the last ones waited for longer than their timeout


async def test_a_cancel_kills_it_and_nobody_else(system: OneSystem, client: Client) -> None:
    neighbour = await client.submit("test.process", {"seconds": 1.0})
    await began(system, neighbour)
    task = await client.submit("test.process", {"do": "stand still"})
    pid = await began(system, task)
    assert (await client.cancel(task))["status"] == "cancelled"
    await until(lambda: gone(pid), what="the process of the cancelled task ends")
    assert (await client.wait(neighbour))["attempt"] == 1


async def test_what_the_handler_started_ends_with_it(system: OneSystem, client: Client) -> None:
    task = await client.submit("test.process", {"do": "start a program"})
    program = int((await until(lambda: system.did("started", task["id"]), 20.0))[0].partition(":")[2])
    await client.cancel(task)
    await until(lambda: gone(program), what="the program that the handler had started ends")


async def test_a_crash_is_heard_of_although_a_fork_holds_its_socket_and_ends_the_fork_too(system: OneSystem, client: Client) -> None:
    task = await client.wait(await client.submit("test.process", {"do": "fork and crash"}, max_retries=0), 10.0)
    assert task["error"]["details"] == {"exit_code": 3}
    fork = int(system.did("started", task["id"])[0].partition(":")[2])
    await until(lambda: gone(fork), what="the fork of the process that crashed ends")


async def test_a_stop_that_is_sent_to_all_processes_does_not_end_it(system: OneSystem, client: Client) -> None:
    task = await client.submit("test.process", {"seconds": 0.5})
    pid = await began(system, task)
    os.kill(pid, 15)
    os.kill(pid, 2)
    assert (await client.wait(task))["result"]["pid"] == pid


async def test_an_idle_process_that_was_killed_is_replaced_and_costs_no_try(system: OneSystem, client: Client) -> None:
    pid = (await client.wait(await client.submit("test.process")))["result"]["pid"]
    os.kill(pid, 9)
    task = await client.wait(await client.submit("test.process"))
    assert (task["attempt"], task["result"]["pid"] != pid) == (1, True)


async def test_exceptions_snoozes_and_results_come_back_as_from_any_handler(client: Client) -> None:
    failed = await client.wait(await client.submit("test.process", {"do": "raise"}, max_retries=0))
    assert failed["error"]["message"] == "OddError: 1 and 2"
    assert "in_a_process" in failed["error"]["details"]["traceback"]

    snoozed = await client.submit("test.process", {"do": "snooze"})
    assert (await client.wait(snoozed))["status"] == "completed"
    assert [attempt["outcome"] for attempt in await client.attempts(snoozed)] == ["snoozed", "completed"]

    big = await client.wait(await client.submit("test.process", {"do": "big"}))
    assert big["error"]["message"].startswith("the result has ")


async def test_its_log_lines_are_the_workers(system: OneSystem, client: Client) -> None:
    task = await client.submit("test.process", {"do": "log"}, metadata={"from": "a test"})
    await client.wait(task)
    [line] = system.worker.logged("from a process", task_id=task["id"])
    assert (line["service"], line["attempt"], line["metadata"], line["cancelled"]) == ("worker", 1, {"from": "a test"}, False)


async def test_a_worker_that_stops_lets_it_finish_and_gives_back_what_still_waits_for_a_process(
    pool: Pool, bus: Bus, lanes: None, start: Services, effects: Path
) -> None:
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", handler_processes=1, grace=20.0)
    ids = await ring_two(pool, bus)
    await until(lambda: "began" in effects.read_text(), 20.0)
    await until(lambda: both_run(pool))
    os.killpg(worker.pid, 2)  # Ctrl-C in a terminal
    assert await worker.ended() == 0
    rows = [await given.row(pool, task_id) for task_id in ids]
    assert sorted((row["status"], row["retry_count"]) for row in rows) == [("completed", 0), ("pending", 0)]
    assert await pool.fetch("SELECT outcome FROM waggle.task_attempts WHERE outcome = 'given_back'")


async def test_it_ends_with_a_worker_that_is_killed(pool: Pool, bus: Bus, lanes: None, start: Services, effects: Path) -> None:
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", handler_processes=2)
    await ring_two(pool, bus, '{"do": "stand still"}')
    await until(lambda: effects.read_text().count("began") == 2, 20.0)
    pids = [int(line.split()[0].partition(":")[2]) for line in effects.read_text().splitlines()]
    worker.kill()
    await until(lambda: all(gone(pid) for pid in pids), what="the processes of a killed worker end")


async def ring_two(pool: Pool, bus: Bus, payload: str = '{"seconds": 2.0}') -> list[object]:
    ids = await given.waiting(pool, 2, type="test.process", payload=payload)
    rows = [await given.row(pool, task_id) for task_id in ids]
    await Ringer(bus, subjects.IDS_LIMIT).ring([(row["id"], "default", 1, row["rung_at"]) for row in rows])
    return list(ids)


async def both_run(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT count(*) = 2 FROM waggle.tasks WHERE status = 'running'"))


def test_an_async_function_cannot_be_a_process_handler() -> None:
    async def handler() -> None:
        await asyncio.sleep(0)

    with pytest.raises(TypeError, match="process=True is a plain function"):
        App().task("a.b", process=True)(handler)
