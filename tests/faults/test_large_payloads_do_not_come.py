"""A connection to Postgres on which large replies stall: tasks whose payload does not arrive are never started, cost no try and do not delay others."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.facts import until
from support.narrow import Narrow, narrow
from support.processes import Process
from support.rest import at_rest
from support.system import Services, client_of

Pool = asyncpg.Pool
SLOTS = 10


@pytest.fixture
async def link(database: str) -> AsyncIterator[Narrow]:
    async with narrow(urlsplit(database).port or 0) as made:
        yield made


@pytest.fixture
async def worker(start: Services, link: Narrow, database: str, effects: Path) -> Process:
    """A worker on that connection; its lease is longer than a fetch may take."""
    await start("scheduler", lease=15.0)
    return await a_worker(start, effects, postgres_url=link.url(database))


async def a_worker(start: Services, effects: Path, **changes: object) -> Process:
    return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS, **({"lease": 15.0} | changes))


async def large(pool: Pool, count: int = 1, seconds: float = 0.0) -> list[UUID]:
    payload = json.dumps({"body": base64.b64encode(os.urandom(300_000)).decode(), "seconds": seconds})
    return await given.waiting(pool, count, ring=False, type="test.measured", payload=payload)


def began(effects: Path) -> int:
    return effects.read_text().count("began")


async def uncharged(pool: Pool) -> bool:
    outcomes = {row["outcome"] for row in await pool.fetch("SELECT outcome FROM waggle.task_attempts")}
    return outcomes <= {"given_back", "completed"} and not await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count + lost_count > 0")


@pytest.mark.parametrize("how", ["the fetch hangs", "the fetch was cut off"])
async def test_a_worker_that_stops_gives_them_back(how: str, pool: Pool, worker: Process, link: Narrow) -> None:
    await large(pool, 3)
    await until(lambda: link.held >= 2, 20)
    if how == "the fetch was cut off":
        link.cut_held()
        await until(lambda: worker.logged("large payload not fetched"))
    assert await worker.stop() == 0
    assert await pool.fetchval("SELECT count(*) = 3 FROM waggle.tasks WHERE status = 'pending'")
    assert await uncharged(pool)


async def test_they_leave_their_slots_to_others(pool: Pool, worker: Process, link: Narrow) -> None:
    await large(pool, 2 * SLOTS)
    await until(lambda: link.held >= 2, 20)
    small = await given.waiting(pool, 2 * SLOTS, ring=False, type="test.work", priority=3)
    for task_id in small:  # within the time that one fetch may take
        assert (await at_rest(pool, task_id, 25.0))["status"] == "completed"
    link.widen()
    assert await uncharged(pool)


async def test_one_that_is_cancelled_meanwhile_does_not_start(pool: Pool, start: Services, worker: Process, link: Narrow, effects: Path) -> None:
    [cancelled], api = await large(pool), await start("api")
    await until(lambda: link.held >= 1, 20)
    async with client_of(api) as client:
        await client.cancel(str(cancelled))
        [later] = await large(pool)
        await until(lambda: link.held >= 2, 20)
    link.widen()
    assert (await at_rest(pool, later))["status"] == "completed"  # it was fetched after the first one
    assert began(effects) == 1


async def test_one_that_is_claimed_again_meanwhile_runs_once(pool: Pool, start: Services, link: Narrow, database: str, effects: Path) -> None:
    """Its lease is lost, and the same worker claims it again while the first fetch still hangs; then the first fetch ends."""
    await start("scheduler")
    await a_worker(start, effects, postgres_url=link.url(database), lease=2.0)
    [task] = await large(pool, seconds=1.0)
    await until(lambda: link.held >= 1, 20)
    await given.gone(pool, await pool.fetchval("SELECT id FROM waggle.workers"))
    await until(lambda: link.held >= 2, 20)
    link.cut_held(most=1)
    await a_worker(start, effects, lease=2.0)
    await asyncio.sleep(1.0)  # long enough for reconciliation to give it back and for the other worker to start it
    link.widen()
    assert (await at_rest(pool, task, 30.0))["status"] == "completed"
    assert began(effects) == 1


async def test_they_never_hold_more_slots_than_there_are(pool: Pool, start: Services, link: Narrow, database: str, effects: Path) -> None:
    """The same with many tasks: second attempts hold slots while the first fetches end. (With a shorter lease a busy machine would look like a hang.)"""
    await start("scheduler")
    await a_worker(start, effects, postgres_url=link.url(database), lease=6.0)
    await large(pool, 4, seconds=1.0)
    await until(lambda: pool.fetchval("SELECT count(*) = 4 FROM waggle.tasks WHERE status = 'running'"), 20)
    await until(lambda: link.held >= 2, 20)
    await given.gone(pool, await pool.fetchval("SELECT id FROM waggle.workers"))
    await until(lambda: pool.fetchval("SELECT count(*) = 4 FROM waggle.tasks WHERE status = 'running' AND attempt = 2"), 20)
    small = await given.waiting(pool, 5 * SLOTS, ring=False, type="test.work", payload='{"seconds": 0.3}')
    link.cut_held(most=2)
    await until(lambda: began(effects) >= 1, 20)
    link.widen()
    for task_id in small:
        assert (await at_rest(pool, task_id, 30.0))["status"] == "completed"
    at_once = most = 0
    for line in effects.read_text().splitlines():
        at_once += 1 if line.startswith("began") else -1 if line.startswith(("ended", "cancelled")) else 0
        most = max(most, at_once)
    assert most <= SLOTS
    assert not await pool.fetchval(
        "SELECT count(*) FROM waggle.task_attempts a JOIN waggle.tasks t ON t.id = a.task_id WHERE t.type = 'test.work' AND a.outcome = 'lost'"
    )
