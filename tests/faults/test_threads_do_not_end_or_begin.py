"""Threads of handlers that do not end take no worker's slots for ever, nor hold up its stop; and where the system gives none, no task is lost."""

import asyncio
import os
import resource
import time
from pathlib import Path

from support.facts import until
from support.metrics import counted
from support.processes import Process
from support.system import Client, Services, client_of

APP = "support.stubborn_handlers:app"
LOST = "waggle_worker_slots_lost"
THREAD_BYTES = 1 << 30


async def test_a_worker_that_lost_half_of_its_slots_ends_to_be_replaced(start: Services) -> None:
    api, _, worker = await start("api"), await start("scheduler"), await start("worker", app=APP, concurrency=4, grace=8.0)
    async with client_of(api) as client:
        first = await client.submit("stubborn.sleeps", {"seconds": 600})
        await client.wait(first)
        await until(lambda: counted(worker, LOST), 20.0, "its slot is lost")
        assert (await client.wait(await client.submit("stubborn.thread")))["status"] == "completed"
        await client.submit("stubborn.sleeps", {"seconds": 600})
        running = await client.submit("demo.sleep", {"seconds": 13.0})
        assert await worker.ended(25.0) == 3
        [line] = worker.logged("too many handlers do not end, this process ends to be replaced")
        assert (line["lost"], line["slots"]) == (2, 4)
        await start("worker", app=APP)
        ended = await client.wait(running)
        assert (ended["status"], ended["retry_count"]) == ("completed", 0)


async def stops_in_time(worker: Process, grace: float) -> None:
    began = time.monotonic()
    assert await worker.stop(60.0) == 0
    assert time.monotonic() - began < grace + 10


async def test_a_stop_does_not_wait_for_threads_that_handlers_left_behind(start: Services) -> None:
    api, _, worker = await start("api"), await start("scheduler"), await start("worker", app=APP, grace=1.0)
    async with client_of(api) as client:
        assert (await client.wait(await client.submit("stubborn.leaves_a_thread")))["result"] == "fine"
        waiting = await client.submit("stubborn.awaits_a_thread")
        await client.becomes(waiting, "running")
        await stops_in_time(worker, 1.0)
        await client.becomes(waiting, "pending")
        await client.cancel(waiting)


def allow(worker: Process, more: int | None) -> None:
    """Let its memory grow by so much, or without a limit."""
    _, hard = resource.prlimit(worker.pid, resource.RLIMIT_AS)
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0])
    soft = hard if more is None else pages * os.sysconf("SC_PAGE_SIZE") + more
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (soft, hard))


async def test_a_worker_that_gets_no_thread_puts_the_task_back_and_goes_on(start: Services) -> None:
    api, _ = await start("api"), await start("scheduler")
    worker = await start("worker", app=APP, environ={"THREAD_BYTES": str(THREAD_BYTES)})
    async with client_of(api) as client:
        allow(worker, THREAD_BYTES // 2)
        tasks = await client.submit_many([{"type": "stubborn.thread", "max_retries": 0}] * 5)
        await until(lambda: len(worker.logged("handler cannot start, its task goes back")) >= len(tasks))
        assert (await client.wait(await client.submit("stubborn.loop")))["result"] == "fine"
        allow(worker, None)
        for task in tasks:
            ended = await client.wait(task, 40.0)
            assert (ended["status"], ended["result"], ended["retry_count"]) == ("completed", "fine", 0)
        assert {attempt["outcome"] for attempt in await client.attempts(tasks[0])} == {"given_back", "completed"}


async def test_a_hook_that_gets_no_thread_is_called_once_there_is_one_and_only_once(start: Services, effects: Path) -> None:
    api, _ = await start("api"), await start("scheduler")
    worker = await start("worker", app=APP, environ={"THREAD_BYTES": str(THREAD_BYTES), "EFFECTS": str(effects)})
    async with client_of(api) as client:
        allow(worker, THREAD_BYTES // 2)
        tasks = await client.submit_many([{"type": "stubborn.owes_a_hook"}] * 3)
        for task in tasks:
            assert (await client.wait(task))["status"] == "dead_letter"
        await until(lambda: len(worker.logged("cleanup cannot start, will be retried")) >= len(tasks))
        allow(worker, None)
        await until(lambda: len(worker.logged("cleanup done")) == len(tasks), 30.0)
        await asyncio.sleep(1.0)  # a call that was kept would come now
    cleaned = [line.split()[1] for line in effects.read_text().splitlines() if line.startswith("cleaned ")]
    assert sorted(cleaned) == sorted(task["id"] for task in tasks)
    assert not worker.logged("cleanup failed, will be retried")


async def one_of(client: Client, kind: str) -> str:
    return str((await client.wait(await client.submit(kind)))["status"])


async def test_the_slots_of_threads_that_end_late_come_back(start: Services) -> None:
    """Handlers on the loop go on beside threads that have taken slots."""
    api, _, worker = await start("api"), await start("scheduler"), await start("worker", app=APP, concurrency=10)
    async with client_of(api) as client:
        for task in await client.submit_many([{"type": "stubborn.sleeps", "payload": {"seconds": 15}}] * 4):
            await client.wait(task)
        assert await asyncio.gather(*(one_of(client, kind) for kind in ("stubborn.loop", "stubborn.thread"))) == ["completed"] * 2
        await until(lambda: counted(worker, LOST), 20.0, "their slots are lost")

        async def back() -> bool:
            return not await counted(worker, LOST)

        await until(back, 15.0, "the threads end, and their slots are back")
        assert worker.alive
