"""A process of handlers that has passed a limit ends after its task, and a new one takes its place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.facts import until
from support.metrics import counted
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Services, client_of

LIMIT = 300 << 20
REPLACED = "waggle_handler_processes_replaced_total"


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    limits = {"handler_processes": 1, "handler_process_max_tasks": 3, "handler_process_max_memory": LIMIT}
    with one_system(postgres, session_folder, "worker-replaced", app="support.forking_handlers:app", **limits) as found:
        yield found


async def pid_of(client: Client, mebibytes: int = 0) -> int:
    task = await client.wait(await client.submit("child.pid", {"mebibytes": mebibytes}, max_retries=0), 20.0)
    assert (task["status"], task["attempt"]) == ("completed", 1)
    return int(task["result"])


async def test_after_as_many_tasks_as_the_setting_says(system: OneSystem, client: Client) -> None:
    pids = [await pid_of(client) for _ in range(7)]
    assert [len(set(pids[:3])), len(set(pids[3:6])), len(set(pids))] == [1, 1, 3]
    [first, _] = await until(lambda: system.worker.logged("handler process replaced", reason="tasks")[1:] and system.worker.logged("handler process replaced"))
    assert (first["pid"], first["tasks"]) == (pids[0], 3)
    await until(lambda: not Path(f"/proc/{pids[0]}").exists(), what="the process ends")


async def test_with_more_memory_than_the_setting_says(system: OneSystem, client: Client) -> None:
    before = (await counted(system.worker, REPLACED)).get("memory", 0)
    grown = await pid_of(client, mebibytes=LIMIT >> 20)
    assert await pid_of(client) != grown
    [line] = system.worker.logged("handler process replaced", reason="memory")
    assert (line["pid"], line["memory"] > LIMIT) == (grown, True)
    assert (await counted(system.worker, REPLACED))["memory"] == before + 1


CODE = """
from waggle import App

app = App()


@app.task("code.runs", process=True, max_retries=0)
def runs(a: int{more}) -> str:
    return "{more}"
"""


async def test_a_process_with_other_code_than_the_worker_announced_runs_nothing(start: Services, folder: Path) -> None:
    """The code was changed in place: its tasks wait for a worker that has what was announced, or was started anew."""
    code = folder / "code_in_place.py"
    code.write_text(CODE.format(more=""))
    environ = {"PYTHONPATH": str(folder)}
    api, _ = await start("api"), await start("scheduler")
    worker = await start("worker", app="code_in_place:app", environ=environ, handler_processes=1, handler_process_max_tasks=1)
    async with client_of(api) as client:
        assert (await client.wait(await client.submit("code.runs", {"a": 1})))["status"] == "completed"
        code.write_text(CODE.format(more=", b: int = 0"))
        task = await client.submit("code.runs", {"a": 1})
        [line, *_] = await until(lambda: worker.logged("handler cannot start, its task goes back"))
        assert "the code of code.runs has changed since this worker started: restart it" in line["error"]
        await worker.stop()
        await start("worker", app="code_in_place:app", environ=environ)
        ended = await client.wait(task, 40.0)
        assert (ended["status"], ended["result"], ended["retry_count"]) == ("completed", ", b: int = 0", 0)
