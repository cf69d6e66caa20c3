"""The scheduler hangs or dies between selecting lost tasks and changing them; meanwhile the tasks are settled and cancelled."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from support import given
from support.facts import until
from support.journal import check_journal, keep_journal
from support.processes import Process
from support.scale import dice, figures, sized
from support.system import Client, Services, client_of
from waggle.store import postgres as store
from waggle.store import tasks
from waggle.task import Claimed, Done, Step, Tries, decide

Pool = asyncpg.Pool

ROUNDS = sized(2, 20)
EACH = 10
LEASE = 1.0
DONE: Step = decide(Done(None), Tries(0, 3, True))


def stands(process: Process) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def settle(pool: Pool, claimed: Claimed, worker: str) -> bool:
    return bool(await tasks.settle(pool, [(given.fence(claimed, worker), DONE)]))


async def cancel(client: Client, claimed: Claimed) -> bool:
    answer = await client.delete(f"/api/tasks/{claimed.id}")
    assert answer.status_code in (200, 409), answer.text
    return answer.status_code == 200


async def race(pool: Pool, others: Pool, client: Client, scheduler: Process, worker: str, dies: bool) -> None:
    """Settle and cancel the lost tasks while the scheduler has locked them; each caller gets a true answer."""
    claimed = await given.running(pool, 3 * EACH, await given.alive(pool, worker))
    await given.gone(pool, worker)
    await until(lambda: stands(scheduler), 15.0, "the scheduler is stopped at its failpoint")
    settles = [asyncio.create_task(settle(others, one, worker)) for one in claimed[:EACH]]
    cancels = [asyncio.create_task(cancel(client, one)) for one in claimed[EACH : 2 * EACH]]
    await until(lambda: pool.fetchval("SELECT count(*) >= 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"))
    if dies:
        scheduler.kill()
    else:
        scheduler.resume()
    told: list[Any] = await asyncio.gather(*settles, *cancels)
    ended = {row["id"]: row["status"] for row in await pool.fetch("SELECT id, status FROM waggle.tasks WHERE id = ANY ($1)", [one.id for one in claimed])}
    for one, was_first in zip(claimed, told[:EACH], strict=False):
        assert (ended[one.id] == "completed") == was_first
        assert was_first == dies or not was_first, "a settle changed a task that the scheduler had locked"
    for one, did in zip(claimed[EACH:], told[EACH:], strict=False):
        assert (ended[one.id] == "cancelled") == did


async def test_no_final_status_is_written_again(start: Services, pool: Pool) -> None:
    chance = dice()
    await keep_journal(pool)
    api = await start("api")
    async with client_of(api) as client, store.pool(start.settings, "settler", EACH) as others:
        for number in range(ROUNDS):
            scheduler = await start("scheduler", environ={"WAGGLE_FAILPOINT": "scheduler.locked:1:stop"}, lease=LEASE)
            dies = number % 2 == 0 if number < 2 else chance.random() < 0.5
            await race(pool, others, client, scheduler, f"w{number}", dies)
            if scheduler.alive:
                await scheduler.stop()
    await start("scheduler", lease=LEASE)
    await start("worker")
    await until(lambda: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status IN ('completed', 'cancelled')", ROUNDS * 3 * EACH), 30.0)
    moves = await check_journal(pool)
    assert moves["running", "pending"], "no task was reclaimed"
    figures("scheduler stands still while it takes back", rounds=ROUNDS, **{f"{was}_to_{became}": count for (was, became), count in sorted(moves.items())})
