"""A fleet goes to a new version of a type and back again, worker by worker under load: nothing is refused, nothing is buried, nothing costs a try."""

from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.load import busy
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.scale import figures, sized
from support.system import Services, client_of

Pool = asyncpg.Pool
ROUNDS = sized(1, 5)
WORKERS = 3
OLD, NEW = "support.version_old:app", "support.version_new:app"


@pytest.mark.timeout(sized(180, 600))
async def test_both_payloads_are_taken_and_run(start: Services, pool: Pool, effects: Path) -> None:
    api = await start("api")
    await start("scheduler")

    async def worker(app: str) -> Process:
        return await start("worker", environ={"EFFECTS": str(effects)}, app=app, concurrency=10, grace=10.0)

    async def roll(fleet: list[Process], app: str, count: int) -> None:
        for _ in range(count):
            fleet.append(await worker(app))
            assert await fleet.pop(0).stop() == 0

    fleet = [await worker(OLD) for _ in range(WORKERS)]
    history = History()
    async with client_of(api) as client:

        async def new_payload_is_taken() -> bool:
            probe = {"type": "skew.job", "payload": {"a": 0, "b": "y"}, "queue": "skew"}
            answer = await client.post("/api/tasks", json=probe)
            history.accepted += [answer.json()["id"]] if answer.status_code == 201 else []
            return answer.status_code == 201

        async with busy(client, pool, history, 100, type="skew.job", payload={"a": 1}):
            for _ in range(ROUNDS):
                await roll(fleet, NEW, 1)
                await until(new_payload_is_taken, 10)
                async with AsyncExitStack() as stack:  # who sends the new field begins after the first new worker, and ends before the last one goes
                    await stack.enter_async_context(busy(client, pool, history, 200, type="skew.job", payload={"a": 2, "b": "y"}))
                    await roll(fleet, NEW, WORKERS - 1)
                    await roll(fleet, OLD, WORKERS - 1)
                await until(lambda: none_waits_for_the_new_version(pool), 60)
                await roll(fleet, OLD, 1)
        await all_at_rest(pool, 60)
    assert not history.refused
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert await pool.fetchval("SELECT max(retry_count + lost_count) FROM waggle.tasks") == 0
    left = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'snoozed'")
    assert left, "no worker met a payload of the other version"
    figures("a fleet rolled forth and back", rounds=ROUNDS, **counts, left_to_another_version=left)


async def none_waits_for_the_new_version(pool: Pool) -> bool:
    return not await pool.fetchval("SELECT EXISTS (SELECT FROM waggle.tasks WHERE status IN ('pending', 'running') AND payload ->> 'b' = 'y')")
