"""`?wait=`: readers that stay until a task is at rest."""

import asyncio
import time

import asyncpg

from support import given
from support.facts import until
from support.one_api import as_id
from support.system import Client, ok, told

Pool = asyncpg.Pool


async def test_a_wait_ends_as_soon_as_the_task_is_at_rest(api: Client) -> None:
    took = []
    for _ in range(4):
        task = await api.submit("test.work")
        waiting = asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=20"))
        await waits(api, 1)
        await api.cancel(task)
        began = time.monotonic()
        assert ok(await waiting)["status"] == "cancelled"
        took.append(time.monotonic() - began)
    assert min(took[1:]) < 0.5, "only the look into Postgres every second ends it"  # the waits after the first one begin with a look


async def test_a_wait_ends_without_any_message_too(api: Client, rows: Pool) -> None:
    task = await api.submit("test.work")
    waiting = asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=20"))
    await waits(api, 1)
    await given.change(rows, as_id(task), "status = 'dead_letter'")
    async with asyncio.timeout(3):
        assert ok(await waiting)["status"] == "dead_letter"


async def test_a_wait_whose_time_is_up_gives_the_task_as_it_is(api: Client) -> None:
    task = await api.submit("test.work")
    assert ok(await api.get(f"/api/tasks/{task['id']}?wait=0.1"))["status"] == "pending"
    assert told(await api.get(f"/api/tasks/{task['id']}?wait=61")).keys() == {"wait"}


async def test_readers_that_leave_wait_no_longer(api: Client) -> None:
    task = await api.submit("test.work")
    waiting = [asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=60")) for _ in range(3)]
    await waits(api, 3)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting, timeout=10)
    await waits(api, 0)


async def waits(api: Client, count: int) -> None:
    """Return once `count` requests wait for a task."""

    async def there() -> bool:
        return f"waggle_http_waiting {count}.0\n" in (await api.get("/metrics")).text

    await until(there)
