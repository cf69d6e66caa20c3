"""The API is killed again and again while programs submit through the client: each call returns, and has made one task."""

import asyncio
import threading
from typing import Any

import asyncpg

from support.keys import ADMIN_KEY
from support.one_api import announce
from support.scale import figures, sized
from support.system import Services
from waggle import Client, SyncClient, new_task
from waggle_embedded.placement import free_port

Pool = asyncpg.Pool

DEATHS = sized(4, 100)
CALLERS = 8
POINTS = ("api.inserted", "api.committed", "api.answered")
DIED = 137


async def test_what_the_client_repeats_makes_one_task(start: Services, pool: Pool) -> None:
    await announce(pool)
    port, over = free_port(), threading.Event()
    url = f"http://127.0.0.1:{port}"
    client, other = Client(url, ADMIN_KEY, retry_for=120.0), SyncClient(url, ADMIN_KEY, retry_for=120.0)
    submitted: list[Any] = []

    async def call() -> None:
        while not over.is_set():
            submitted.append((await client.submit(new_task("test.work"))).id)
            submitted.extend(handle.id for handle in await client.submit_many([new_task("test.work")] * 3))

    def call_in_a_thread() -> None:
        while not over.is_set():
            submitted.append(other.submit(new_task("test.work")).id)

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())
            group.create_task(asyncio.to_thread(call_in_a_thread))
        for number in range(DEATHS):
            assert await start.launch("api", api_port=port, failpoint=f"{POINTS[number % len(POINTS)]}:5").ended(60.0) == DIED
        start.launch("api", api_port=port)
        over.set()
    await client.close()
    other.close()
    assert len(set(submitted)) == len(submitted), "two calls have the same task"
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks") == len(submitted)
    figures("the API dies under clients", deaths=DEATHS, tasks=len(submitted))
