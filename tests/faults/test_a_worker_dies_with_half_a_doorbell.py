"""A worker is killed when it has claimed a part of the tasks of its doorbells: those that ran are taken back, the others run without cost."""

from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.oracle import History, all_at_rest, check
from support.scale import figures
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool
TASKS = 1_088  # 17 doorbells of 64
SLOTS = 5
LEASE = 2.0


async def test_only_what_ran_is_charged_and_the_rest_runs_elsewhere(start: Services, pool: Pool, bus: Bus, lanes: None, effects: Path) -> None:
    await start("scheduler", lease=LEASE)
    environ = {"EFFECTS": str(effects)}
    victim = await start("worker", environ=environ, app="support.handlers:app", concurrency=SLOTS, lease=LEASE)
    ids = await given.waiting(pool, TASKS, type="test.work", payload='{"seconds": 0.1}')
    rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks")
    assert await Ringer(bus, subjects.IDS_LIMIT).ring_confirmed([tuple(row) for row in rows]) is None
    some = "SELECT count(*) FILTER (WHERE status = 'completed') > 10 AND max(started_at) FILTER (WHERE status = 'running') > now() - interval '50 ms'"
    await until(lambda: pool.fetchval(f"{some} FROM waggle.tasks"), 10.0, "some are done, and others have just begun")
    victim.kill()
    await start("worker", environ=environ, app="support.handlers:app", concurrency=100, lease=LEASE)
    await all_at_rest(pool, 30)
    lost = [f"{row['task_id']} {row['attempt']}" for row in await pool.fetch("SELECT task_id, attempt FROM waggle.task_attempts WHERE outcome = 'lost'")]
    ended = {" ".join(line.split()[1:3]) for line in effects.read_text().splitlines() if line.startswith("ended ")}
    counts = await check(pool, History(accepted=[str(task_id) for task_id in ids]), effects, duplicates_at_most=SLOTS)
    figures("a worker dies with half a doorbell", slots=SLOTS, lost=len(lost), **counts)
    assert lost
    assert len([one for one in lost if one not in ended]) <= SLOTS, "the slot of a handler that has ended is free before Postgres has its end"
