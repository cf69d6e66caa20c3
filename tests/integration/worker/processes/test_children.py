"""Processes that handlers start: the worker goes on, each task has one outcome, and nothing stays behind where the docs say so."""

import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from support import given
from support.facts import until
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Json, Services
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool
PLACES = ("child.thread", "child.async", "child.process")


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-children", app="support.forking_handlers:app", handler_processes=2) as found:
        yield found


def gone(pid: int) -> bool:
    """Whether a process has ended (an orphan may stay a zombie for a while)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def ran(client: Client, kind: str, what: str | None = None, **fields: object) -> Json:
    return await client.wait(await client.submit(kind, None if what is None else {"what": what}, max_retries=0, **fields), 20.0)


@pytest.mark.parametrize("place", PLACES)
async def test_a_child_that_is_asked_to_end_ends_and_its_worker_goes_on(system: OneSystem, client: Client, place: str) -> None:
    task = await ran(client, place, "ended")
    assert (task["status"], task["result"]) == ("completed", -signal.SIGTERM)
    assert (await ran(client, "demo.echo"))["status"] == "completed"
    assert not system.worker.logged("stopping")


@pytest.mark.parametrize("place", PLACES)
async def test_a_signal_to_a_program_that_starts_reaches_nobody_else(system: OneSystem, client: Client, place: str) -> None:
    assert (await ran(client, place, "killed at once"))["result"] == [-signal.SIGTERM]
    assert not system.worker.logged("stopping")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("exit", 7)])
async def test_a_fork_that_leaves_the_handler_ends_there(system: OneSystem, client: Client, place: str, how: str, code: int) -> None:
    task = await ran(client, place, how)
    assert (task["status"], task["result"], task["attempt"]) == ("completed", code, 1)
    assert system.worker.alive


async def test_a_fork_that_awaits_in_an_async_handler_ends_there(system: OneSystem, client: Client) -> None:
    assert (await ran(client, "child.async", "await"))["result"] == 1
    assert "went on" not in system.effects.read_text()


async def test_a_child_hears_ctrl_c_as_any_process_does(client: Client) -> None:
    assert (await ran(client, "child.hears"))["result"] == 1


async def test_a_child_holds_no_connection_of_its_worker(client: Client) -> None:
    assert (await ran(client, "child.holds"))["result"] == 0


async def left_by(effects: Path, count: int) -> list[int]:
    """The processes that handlers said they leave behind, once there are so many."""
    return await until(lambda: (found := [int(pid) for pid in effects.read_text().split()])[count - 1 :] and found, 20.0, "the handler starts processes")


async def all_gone(pids: list[int]) -> None:
    await until(lambda: all(gone(pid) for pid in pids), what="what the handler started ends")


async def test_what_a_process_handler_started_ends_at_its_timeout(system: OneSystem, client: Client) -> None:
    system.effects.write_text("")
    task = await client.submit("child.process", {"what": "leaves", "seconds": 60.0}, max_retries=0, timeout=1.0)
    assert (await client.wait(task, 20.0))["error"]["code"] == "task_timeout"
    await all_gone(await left_by(system.effects, 2))


async def test_what_a_process_handler_leaves_behind_ends_with_its_task(system: OneSystem, client: Client) -> None:
    system.effects.write_text("")
    assert (await ran(client, "child.process", "leaves"))["status"] == "completed"
    await all_gone(await left_by(system.effects, 2))
    assert system.worker.logged("handler process replaced", reason="children", left=2)


async def test_the_process_that_multiprocessing_keeps_for_itself_is_none_that_a_handler_left(client: Client) -> None:
    """Otherwise each task would pay for a new process."""
    pids = [(await client.wait(await client.submit("child.pool"), 30.0))["result"] for _ in range(3)]
    assert len(set(pids)) == 1


async def test_the_last_line_before_a_crash_is_in_the_log(system: OneSystem, client: Client) -> None:
    for _ in range(5):
        task = await client.wait(await client.submit("child.last_words", max_retries=0), 20.0)
        assert task["status"] == "dead_letter"
        assert system.worker.logged("last words", task_id=task["id"])


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_what_a_process_handler_started_ends_with_its_worker(pool: Pool, bus: Bus, lanes: None, start: Services, effects: Path, how: str) -> None:
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.forking_handlers:app", handler_processes=1, grace=0.5)
    [task_id] = await given.waiting(pool, type="child.process", payload='{"what": "leaves", "seconds": 60}')
    row = await given.row(pool, task_id)
    await Ringer(bus).ring([(task_id, "default", 1, row["rung_at"])])  # type: ignore[list-item]
    pids = await left_by(effects, 2)
    if how == "stop":
        assert await worker.stop() == 0
    else:
        worker.kill()
    await all_gone(pids)
