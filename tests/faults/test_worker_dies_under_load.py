"""Workers are killed (-9) at random moments under load: no task is lost, the kills explain every task that ran twice, and lost tasks run elsewhere soon."""

import asyncio
from datetime import datetime
from pathlib import Path

import asyncpg

from support.facts import until
from support.load import busy
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.scale import FULL, dice, figures, sized
from support.system import Services, client_of

Pool = asyncpg.Pool
TASKS = sized(1_000, 10_000)
KILLS = sized(3, 20)
SLOTS = sized(20, 10)
SECONDS = sized(0.02, 0.05)
LEASE = sized(2.0, 15.0)
ELSEWHERE_WITHIN = 20.0
ACK_WAIT = 10.0

# From the kill of a worker to the next attempt that really started (a suspect may be given back first), and the longest time without a claim in
# between: about an ack wait means that the next killed worker held the doorbell.
RAN_AGAIN = """
SELECT extract(epoch FROM n.started_at - k.at)::float8 AS after, extract(epoch FROM g.gap)::float8 AS gap
FROM unnest($1::text[], $2::timestamptz[]) AS k(worker_id, at)
JOIN waggle.task_attempts l ON l.worker_id = k.worker_id AND l.outcome = 'lost'
JOIN LATERAL (SELECT min(n.started_at) AS started_at FROM waggle.task_attempts n
              WHERE n.task_id = l.task_id AND n.attempt > l.attempt AND n.outcome <> 'given_back') n ON true
JOIN LATERAL (SELECT max(b.started_at - a.ended_at) AS gap
              FROM waggle.task_attempts a JOIN waggle.task_attempts b ON b.task_id = a.task_id AND b.attempt = a.attempt + 1
              WHERE a.task_id = l.task_id AND a.attempt >= l.attempt AND b.started_at <= n.started_at) g ON true
"""


async def ran_again(pool: Pool, killed: dict[str, datetime]) -> tuple[float, float]:
    """The longest time from a kill until a lost task ran elsewhere; and the same for tasks whose doorbell was lost in a later kill (0 for none)."""
    rows = await pool.fetch(RAN_AGAIN, list(killed), list(killed.values()))
    once = [row["after"] for row in rows if row["gap"] < 0.8 * ACK_WAIT]
    twice = [row["after"] for row in rows if row["gap"] >= 0.8 * ACK_WAIT]
    return max(once), max(twice, default=0.0)


async def test_every_accepted_task_completes(start: Services, pool: Pool, effects: Path) -> None:
    chance = dice()
    api = await start("api")
    await start("scheduler", lease=LEASE)

    async def worker() -> Process:
        return await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS, lease=LEASE)

    workers = [await worker(), await worker()]
    history, killed = History(), dict[str, datetime]()
    async with client_of(api) as client:
        async with busy(client, pool, history, 100, type="test.work", payload={"seconds": SECONDS}, max_retries=KILLS):
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, sized(0.6, 6.0)))  # the moment of the kill, not a wait
                victim = workers.pop(chance.randrange(len(workers)))
                victim.kill()
                killed[str(victim.logged("lease taken")[-1]["worker_id"])] = await pool.fetchval("SELECT now()")
                workers.append(await worker())
            await until(lambda: len(history.accepted) >= TASKS, 60)
        await all_at_rest(pool, 120)
    counts = await check(pool, history, effects, duplicates_at_most=KILLS * SLOTS)
    lost = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'lost'")
    latest, hit_twice = await ran_again(pool, killed)
    figures(
        "a worker killed in mid-task", kills=KILLS, slots=SLOTS, lease=f"{LEASE:g} s", **counts, attempts_lost=lost,
        latest_ran_elsewhere_after=f"{latest:.1f} s", latest_of_those_hit_twice=f"{hit_twice:.1f} s",
    )  # fmt: skip
    assert counts["tasks"] >= TASKS
    assert 0 < lost <= KILLS * SLOTS, "the kills hit nobody" if not lost else "more tasks were lost than ran"
    if FULL:
        assert latest <= ELSEWHERE_WITHIN
        assert hit_twice <= ELSEWHERE_WITHIN + ACK_WAIT + 2.0
