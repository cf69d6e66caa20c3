"""A worker's only slot is busy for long, and it holds doorbells that it requested in advance: other workers get them, and no task starts that has ended."""

from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.metrics import counted
from support.oracle import History, all_at_rest, check
from support.scale import figures, sized
from support.system import Services, client_of
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.jetstream import api_request

Pool = asyncpg.Pool
QUICK = 300
BEHIND = sized(100, 1_000)


async def test_they_go_to_others_and_nothing_starts_late(start: Services, pool: Pool, bus: Bus, effects: Path) -> None:
    environ = {"EFFECTS": str(effects)}
    await start("scheduler")
    api = await start("api")
    holder = await start("worker", environ=environ, app="support.handlers:app", concurrency=1)

    async def held() -> int:
        return int((await api_request(bus, subjects.consumer_info("default", 1)))["num_ack_pending"])

    async with pool.acquire() as connection, connection.transaction():  # they appear at the same time, in this order
        quick = await given.waiting(connection, QUICK, ring=False, type="test.work")
        [long] = await given.waiting(connection, ring=False, type="test.work", payload='{"seconds": 120}')
        behind = await given.waiting(connection, BEHIND, ring=False, type="test.work")
    await until(lambda: f"began {long}" in effects.read_text(), 30.0)
    ahead = await until(held, what="it holds doorbells without a free slot")
    async with client_of(api) as client:
        cancelled = [str(task_id) for task_id in behind[::2]]
        for task_id in cancelled:
            await client.cancel(task_id)
        await start("worker", environ=environ, app="support.handlers:app", concurrency=1)
        others = [str(task_id) for task_id in behind[1::2]]
        await until(
            lambda: pool.fetchval("SELECT count(*) = $2 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", behind[1::2], len(others)), 30.0
        )
        assert (await client.task(str(long)))["status"] == "running"
        assert (await counted(holder, "waggle_doorbells_given_back_total"))[""] >= 1
        await client.cancel(str(long))
    await all_at_rest(pool, 10.0)
    did = effects.read_text()
    assert not [task_id for task_id in cancelled if task_id in did], "a task started although it was cancelled while its doorbell was held"
    assert await pool.fetchval("SELECT max(attempt) FROM waggle.tasks") <= 2, "claimed ahead of a slot at most once"
    await until(lambda: f"cancelled {long}" in effects.read_text())
    await check(pool, History(accepted=[*map(str, quick), *others]), effects, duplicates_at_most=0)
    figures("doorbells held without a slot", held=ahead, waiting_behind_the_long_one=BEHIND, cancelled=len(cancelled), ran_elsewhere=len(others))
