"""Three schedulers and two dlq services side by side, killed at random: every due task is rung, few doorbells are superfluous, and no dead letter is
removed twice."""

import asyncio
from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.given_dead import dead
from support.journal import check_journal, keep_journal
from support.oracle import History, all_at_rest, check
from support.processes import ready
from support.scale import dice, figures, sized
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle_scheduler.due import DUE_BATCH

Pool = asyncpg.Pool

KILLS = sized(3, 20)
TASKS = sized(2_000, 20_000)
DEAD = sized(900, 20_000)
KEPT = 100
SPREAD = sized(3.0, 30.0)  # seconds over which the tasks are due


async def rung(bus: Bus) -> int:
    """The number of doorbells that the stream has ever stored."""
    return int((await bus.jetstream().stream_info(subjects.WORK_STREAM)).state.last_seq)


async def test_due_tasks_are_rung_about_once_and_dead_letters_buried_once(start: Services, pool: Pool, bus: Bus, effects: Path) -> None:
    chance = dice()
    await keep_journal(pool)
    await given.alive(pool, "of an older version")  # so that each task has a doorbell of its own, which can be counted
    schedulers = [await start("scheduler") for _ in range(3)]
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=50)
    before = await rung(bus)
    history = History()
    for part in range(20):
        history.accepted += [str(one) for one in await given.waiting(pool, TASKS // 20, ring=False, type="test.work", delay=SPREAD * part / 20)]
    burying = [await start("dlq", dlq_max_size=KEPT, dlq_cleanup_interval=0.2) for _ in range(2)]
    for _ in range(KILLS):
        await dead(pool, DEAD // KILLS, type="test.work")
        await asyncio.sleep(chance.uniform(0.3, 1.2) * SPREAD / KILLS)
        for group, name, changes in ((schedulers, "scheduler", {}), (burying, "dlq", {"dlq_max_size": KEPT, "dlq_cleanup_interval": 0.2})):
            group.pop(chance.randrange(len(group))).kill()
            group.append(start.launch(name, **changes))
    await ready(*schedulers, *burying)
    await until(lambda: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'completed'", TASKS), 60.0, "all due tasks complete")
    await until(lambda: pool.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'dead_letter'", KEPT), 60.0, "the excess is buried")
    await all_at_rest(pool, 30)
    bells = await rung(bus) - before
    moves = await check_journal(pool)
    assert moves["dead_letter", "failed"] == DEAD - KEPT
    counts = await check(pool, history, effects, duplicates_at_most=0)
    # A scheduler that dies between its commit and its ring leaves a batch to the orphan rule: rung late, not twice. Superfluous are only doorbells that the
    # orphan rule rings beside one that took more than five seconds, or that a killed scheduler had sent.
    assert TASKS <= bells <= TASKS + KILLS * DUE_BATCH // 10, f"{bells} doorbells for {TASKS} tasks"
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts") == TASKS + DEAD
    figures("schedulers and dlq services side by side", kills=f"{KILLS} of each", doorbells=bells, buried=moves["dead_letter", "failed"], **counts)
