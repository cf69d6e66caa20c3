"""Cancels arrive while tasks complete: one of the two wins, and the API's answer is the final state."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import asyncpg

from support.journal import check_journal, keep_journal
from support.oracle import History, all_at_rest, check
from support.scale import dice, figures, sized
from support.system import Client, Services, client_of

Pool = asyncpg.Pool

PAIRS = sized(300, 10_000)
AT_ONCE = 50
RUNS = 0.03  # seconds


async def pairs(client: Client, chance: random.Random) -> dict[str, str]:
    """Submit a few tasks and cancel each one at about its end; returns the status that the API answered for each."""

    async def cancel(task_id: str) -> str:
        await asyncio.sleep(chance.uniform(0, 3 * RUNS))
        answer = await client.delete(f"/api/tasks/{task_id}")
        if answer.status_code == 200:
            return str(answer.json()["status"])
        assert answer.status_code == 409, answer.text
        return str((await client.task(task_id))["status"])

    ids = [task["id"] for task in await client.submit_many([{"type": "test.work", "payload": {"seconds": RUNS}}] * AT_ONCE)]
    return dict(zip(ids, await asyncio.gather(*map(cancel, ids)), strict=True))


async def test_the_answer_is_the_final_state(start: Services, pool: Pool, effects: Path) -> None:
    chance = dice()
    await keep_journal(pool)
    api, _ = await start("api"), await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    told: dict[str, str] = {}
    async with client_of(api) as client:
        while len(told) < PAIRS:
            told |= await pairs(client, chance)
    await all_at_rest(pool, 30)
    ended = {str(row["id"]): row["status"] for row in await pool.fetch("SELECT id, status FROM waggle.tasks")}
    lies = {task_id: (said, ended[task_id]) for task_id, said in told.items() if said != ended[task_id]}
    assert not lies, f"{len(lies)} callers got an answer that differs from the final state: {lies}"
    winners = Counter(told.values())
    assert winners.keys() == {"cancelled", "completed"}, "the two did not race"
    moves = await check_journal(pool)
    assert moves["running", "cancelled"], "no cancel hit a running task"
    counts = await check(pool, History([task_id for task_id, said in told.items() if said == "completed"]), effects, duplicates_at_most=0)
    running = moves["running", "cancelled"]
    figures("cancel against completion", pairs=len(told), cancelled=winners["cancelled"], of_these_running=running, completed=counts["tasks"])
