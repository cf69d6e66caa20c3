"""Nobody reads the output of a service, its pipe is full, or its disk is: the service works as before, and says what is missing once it can."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support import full_disk
from support.facts import until
from support.metrics import counted
from support.processes import ready
from support.servers import PostgresServer
from support.system import Client, Services, System, client_of

DROPPED = "waggle_log_lines_dropped_total"
LINES = 1_000  # of a kilobyte each: a pipe takes 64, and 16,000 wait


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


async def works(client: Client) -> None:
    """Handlers log much, and their tasks complete."""
    tasks = await client.submit_many([{"type": "log.much", "payload": {"lines": LINES}, "max_retries": 0}] * 20)
    for task in tasks:
        ended = await client.wait(task, 60.0)
        assert (ended["status"], ended["attempt"]) == ("completed", 1), ended


@pytest.mark.parametrize("how", ["nobody reads", "the pipe is full"])
async def test_a_worker_whose_output_nobody_takes(start: Services, pipe: tuple[int, int], how: str) -> None:
    reader, writer = pipe
    api, _ = await start("api"), await start("scheduler")
    worker = start.launch("worker", app="support.logging_handlers:app", lease=15.0, output=writer)
    await ready(worker)
    if how == "nobody reads":
        os.close(reader)
        os.close(writer)
    async with client_of(api) as client:
        await works(client)
        await until(lambda: counted(worker, DROPPED), 10.0, "lines are dropped")
        if how == "the pipe is full":
            with os.fdopen(reader, "rb", closefd=False) as lines:
                assert next(line for line in lines if b"log lines dropped" in line)
        assert await worker.stop(15.0) == 0


async def test_a_worker_on_a_full_disk(start: Services) -> None:
    api, _ = await start("api"), await start("scheduler")
    worker = await start("worker", app="support.logging_handlers:app", lease=15.0)
    async with client_of(api) as client:
        full_disk.fill(worker.pid)
        await works(client)
        await until(lambda: counted(worker, DROPPED), 10.0, "lines are dropped")
        full_disk.make_room(worker.pid)
        [line] = await until(lambda: worker.logged("log lines dropped"), 20.0)
        assert line["count"] > 0
        await works(client)
    assert await worker.stop(15.0) == 0
    assert worker.logged("stopped")


async def test_an_api_on_a_full_disk_refuses_as_before(own_postgres: PostgresServer, start: Services) -> None:
    """The line about a request that was not served waits; the answer does not."""
    api = await start("api")
    async with client_of(api) as client:
        full_disk.fill(api.pid)
        own_postgres.kill()
        refused = await client.get("/api/tasks")
        assert (refused.status_code, refused.json()["code"], "retry-after" in refused.headers) == (503, "service_unavailable", True)
        own_postgres.start()

        async def served() -> bool:
            return (await client.get("/api/tasks")).status_code == 200

        await until(served, 30.0)
        assert api.logged("request not served") == []
        full_disk.make_room(api.pid)
        await until(lambda: api.logged("request not served"), 20.0, "the line is written later")
    assert await api.stop(15.0) == 0


async def test_all_services_without_a_reader(start: Services) -> None:
    reader, writer = os.pipe()
    services = [start.launch(name, app="support.logging_handlers:app", output=writer) for name in ("api", "worker", "dlq", "scheduler")]
    os.close(reader)
    os.close(writer)
    system = System(*services)
    await ready(*services, seconds=60.0)
    async with client_of(system.api) as client:
        failed = await client.wait(await client.submit("log.fails", max_retries=0))
        assert failed["status"] == "dead_letter"
    for service in services:
        assert await service.stop(15.0) == 0, service.name
