"""What handlers log, by `ctx.log` or by the standard logger, is in the worker's log, with the task's id, and fails no task."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.facts import until
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Services, client_of, ok

PLACES = ("log.thread", "log.async", "log.process")


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-logging", app="support.logging_handlers:app", handler_processes=1) as found:
        yield found


@pytest.mark.parametrize("place", PLACES)
async def test_a_line_names_the_task_wherever_its_handler_runs(system: OneSystem, client: Client, place: str) -> None:
    task = await client.wait(await client.submit(place, max_retries=0))
    assert (task["status"], task["result"]) == ("completed", "fine")
    of_it = {"task_id": task["id"], "task_type": place, "attempt": 1, "service": "worker"}
    [standard] = await until(lambda: system.worker.logged("by the standard logger", **of_it))
    assert (standard["price"], standard["logger"], standard["level"]) == (3, "shop", "info")
    assert len(await until(lambda: system.worker.logged("by ctx.log", **of_it))) == 1
    assert len(await until(lambda: system.worker.logged("%d no number", **of_it))) == 1


async def test_a_line_of_what_a_handler_started_names_the_task_too(system: OneSystem, client: Client) -> None:
    task = await client.wait(await client.submit("log.async"))
    for event in ("in a task of it", "in a thread of it"):
        assert len(await until(lambda event=event: system.worker.logged(event, task_id=task["id"]))) == 1


@pytest.mark.parametrize(("kind", "payload", "event"), [("log.thread", {"fails": True}, "in a hook"), ("log.fails", {}, "in an async hook")])
async def test_a_line_of_a_hook_names_the_task(system: OneSystem, client: Client, kind: str, payload: object, event: str) -> None:
    task = await client.wait(await client.submit(kind, payload, max_retries=0))
    assert len(await until(lambda: system.worker.logged(event, task_id=task["id"]))) == 1


async def test_a_module_that_configures_loggers_silences_nothing_of_waggle(start: Services) -> None:
    api, worker, _ = (
        await start("api"),
        await start("worker", environ={"CONFIGURES": "1"}, app="support.logging_handlers:app", handler_processes=1),
        await start("scheduler"),
    )
    async with client_of(api) as client:
        for place in PLACES:
            task = await client.wait(await client.submit(place))
            assert len(await until(lambda task=task: worker.logged("by ctx.log", task_id=task["id"]))) == 1
            kept = ok(await client.get(f"/api/tasks/{task['id']}/logs"))["items"]
            assert [line["event"] for line in kept] == ["by ctx.log", "%d no number"]
    assert worker.logged("ready")
    assert await worker.stop() == 0
    assert worker.logged("stopped")
