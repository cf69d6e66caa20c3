"""Another client takes all connections of Postgres, or locks its rows: the services wait, log it, and recover by themselves."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from support.facts import until
from support.loops import loop
from support.oracle import History, all_at_rest, check, submit_load
from support.scale import figures, sized
from support.servers import PostgresServer
from support.system import Client, Services, client_of, ok

Pool = asyncpg.Pool

SECONDS = sized(0.5, 30.0)
TASKS = sized(500, 10_000)
MAX_CONNECTIONS = 48


class Greedy:
    """A client that takes every free connection, and each that becomes free."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.taken: list[asyncpg.Connection[asyncpg.Record]] = []
        self.has_all = False

    async def take(self) -> None:
        while True:
            try:
                self.taken.append(await asyncpg.connect(self._url))
            except asyncpg.TooManyConnectionsError:
                self.has_all = True
                await asyncio.sleep(0.01)


@asynccontextmanager
async def no_connection_left(url: str) -> AsyncIterator[Greedy]:
    """Take them for the length of the block; at its start no connection is free."""
    greedy = Greedy(url)
    try:
        async with loop(greedy.take()):
            await until(lambda: greedy.has_all)
            yield greedy
    finally:
        for connection in greedy.taken:
            connection.terminate()


async def small(postgres: PostgresServer) -> None:
    """A server with few connections; the setting needs a restart."""
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
    await connection.execute("ALTER SYSTEM SET superuser_reserved_connections = 0")
    await connection.close()
    postgres.restart()


async def test_without_a_free_connection_callers_are_told_to_come_again_and_nothing_is_lost(
    own_postgres: PostgresServer, start: Services, pool: Pool, effects: Path
) -> None:
    await small(own_postgres)
    scheduler = await start("scheduler")
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    history = History()
    await pool.expire_connections()
    async with no_connection_left(own_postgres.url):
        api, *late = start.launch("api"), start.launch("scheduler"), start.launch("dlq")
        await until(lambda: all(one.logged("waiting for Postgres") for one in (api, *late)), 20.0)
        assert not api.ready_file.exists()
    await until(lambda: all(one.ready() for one in (api, *late)), 30.0, "they start as soon as there are connections")
    async with client_of(api) as client:
        history.accepted += [task["id"] for task in await client.submit_many([{"type": "test.work"}] * 5)]
        async with no_connection_left(own_postgres.url) as greedy:
            await take_theirs(greedy)
            load = asyncio.create_task(submit_load(client, history, TASKS, type="test.work"))
            await until(lambda: history.refused[503], 30.0, "callers get 503 with Retry-After")
            await asyncio.sleep(SECONDS)  # the fault itself
        await load
        await until(lambda: pool.fetchval("SELECT true"), 20.0)
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert scheduler.alive
    assert worker.alive
    figures("too few connections", max_connections=MAX_CONNECTIONS, told_503=history.refused[503], **counts)


async def take_theirs(greedy: Greedy) -> None:
    """Close the connections of the services until the client has them all: none came back for a second."""
    since = time.monotonic()
    while time.monotonic() < since + 1.0:
        if await greedy.taken[0].fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'waggle-%'"):
            since = time.monotonic()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def somebody(start: Services) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A session without the timeouts of Waggle."""
    connection = await asyncpg.connect(start.settings.postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


async def health(client: Client) -> object:
    return ok(await client.get("/health"))["status"]


async def test_rows_that_somebody_holds_locked_wait_and_the_others_do_not(start: Services, pool: Pool, effects: Path) -> None:
    api, _ = await start("api"), await start("scheduler")
    announcer = await start("worker", app="support.handlers:app")
    await announcer.stop()
    history = History()
    async with client_of(api) as client:
        await submit_load(client, history, TASKS, pause=0.0, type="test.work", max_retries=0)
        async with somebody(start) as connection, connection.transaction():
            await connection.execute("SELECT FROM waggle.queues FOR UPDATE")
            held = {str(row["id"]) for row in await connection.fetch("SELECT id FROM waggle.tasks ORDER BY id LIMIT $1 FOR UPDATE", TASKS // 5)}
            worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
            await submit_load(client, history, TASKS, pause=0.0, type="test.work", max_retries=0)
            others = 2 * TASKS - len(held)
            await until(lambda: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'completed'", others), 60.0, "all others complete")
            refused = await client.delete(f"/api/tasks/{min(held)}")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert await health(client) == "ok"
            assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'pending'") == len(held)
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert worker.alive
    figures("locked rows", held=len(held), **counts)
