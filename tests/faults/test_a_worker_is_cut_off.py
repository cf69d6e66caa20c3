"""A worker cannot reach Postgres for longer than its lease, alone or with the scheduler: its tasks run again, but no try is charged and none is a suspect.

Had its loop stood still instead, it would be as if it had died.
"""

import asyncio
import time
from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.metrics import counted
from support.oracle import all_at_rest, audited
from support.proxy import proxy
from support.scale import crowd, figures, sized
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.settings.services import SchedulerSettings

Pool = asyncpg.Pool
LEASE = sized(4.0, 15.0)  # a loop that stands still for a fifth of it is charged, and a busy machine may do that to it
TASKS = 100


async def test_nothing_is_charged_and_the_worker_goes_on(start: Services, pool: Pool, database: str, effects: Path, settings: SchedulerSettings) -> None:
    await start("scheduler", lease=LEASE)
    async with proxy(int(database.rpartition(":")[2].partition("/")[0])) as link:
        environ = {"EFFECTS": str(effects)}
        worker = await start("worker", environ=environ, app="support.handlers:app", concurrency=TASKS, lease=LEASE, postgres_url=link.url(database))
        long = f'{{"seconds": {4 * LEASE}}}'
        ids = await given.waiting(pool, TASKS // 2, ring=False, type="test.work", payload=long)
        ids += await given.waiting(pool, TASKS // 4, ring=False, type="test.work", payload=long, max_retries=0)
        short = await given.waiting(pool, TASKS // 4, ring=False, type="test.work", payload=f'{{"seconds": {LEASE}}}')
        await until(lambda: effects.read_text().count("began") == TASKS, 20.0)
        link.cut()
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE status = 'running'"), 3 * LEASE + 5.0, "they are taken back")
        dead = await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter'")
        assert dead == TASKS // 4
        link.heal()
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE retry_count + lost_count > 0"), 10.0, "nothing is charged")
        await all_at_rest(pool, 60)
        left = await pool.fetch("SELECT DISTINCT status, retry_count, lost_count FROM waggle.tasks WHERE id = ANY ($1)", [*ids, *short])
        assert [tuple(row) for row in left] == [("completed", 0, 0)]
        assert not await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'lost'")
        await audited(settings)
        figures("a worker that was cut off", tasks=TASKS, dead_letters=dead, undone=await counted(worker, "waggle_losses_undone_total"))


WAITS = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'waggle-worker' AND wait_event_type = 'Lock' AND datname = current_database()"


async def test_a_claim_whose_answer_got_lost_charges_nothing(
    start: Services, pool: Pool, bus: Bus, database: str, lanes: None, settings: SchedulerSettings
) -> None:
    """The claim waits for a lock, the link is cut, and the lock is released: the tasks run in Postgres, and their worker does not know."""
    await start("scheduler", lease=LEASE)
    async with proxy(int(database.rpartition(":")[2].partition("/")[0])) as link:
        await start("worker", app="support.handlers:app", concurrency=10, lease=LEASE, postgres_url=link.url(database))
        for _ in range(8):  # a connection that does not know the statement yet waits before the claim begins: then nothing is claimed
            await given.waiting(pool, 300, ring=False, type="test.work")
            await until(lambda: pool.fetchval("SELECT bool_and(status = 'completed') FROM waggle.tasks"), 20.0)
            ids = await given.waiting(pool, 10, type="test.work")
            rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks WHERE status = 'pending'")
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("LOCK TABLE waggle.tasks IN SHARE MODE")
                await Ringer(bus, subjects.IDS_LIMIT).ring_confirmed([tuple(row) for row in rows])
                await until(lambda: pool.fetchval(WAITS), 10.0, "the claim waits")
                link.cut()
            await asyncio.sleep(0.5)
            if await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'running'"):
                break
            link.heal()
            link.close_links()
            await until(lambda ids=ids: pool.fetchval("SELECT bool_and(status = 'completed') FROM waggle.tasks WHERE id = ANY ($1)", ids), 30.0)  # type: ignore[misc]
        await until(lambda: pool.fetchval("SELECT count(*) > 0 FROM waggle.tasks WHERE lost_count > 0"), 3 * LEASE + 5.0, "they were claimed, and taken back")
        link.heal()
        link.close_links()
        await until(lambda: pool.fetchval("SELECT bool_and(status = 'completed') FROM waggle.tasks WHERE id = ANY ($1)", ids), 30.0)
        assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count + lost_count > 0") == 0
        assert not await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'lost'")
        await audited(settings)


async def test_nothing_is_charged_when_the_scheduler_was_cut_off_too(
    start: Services, pool: Pool, database: str, effects: Path, settings: SchedulerSettings
) -> None:
    async with proxy(int(database.rpartition(":")[2].partition("/")[0])) as link:
        environ = {"EFFECTS": str(effects)}
        await start("scheduler", lease=LEASE, postgres_url=link.url(database))
        await start("worker", environ=environ, app="support.handlers:app", concurrency=TASKS, lease=LEASE, postgres_url=link.url(database))
        await given.waiting(pool, TASKS, ring=False, type="test.work", payload=f'{{"seconds": {2 * LEASE}}}', max_retries=0)
        await until(lambda: effects.read_text().count("began") == TASKS, 20.0)
        link.cut()
        await until(lambda: pool.fetchval("SELECT bool_and(waggle.lease_expired(last_seen, lease)) FROM waggle.workers"), 3 * LEASE, "its lease expires")
        link.heal()
        link.close_links()
        healed = time.monotonic()
        uncharged = "SELECT bool_and(status = 'completed' AND retry_count + lost_count = 0) FROM waggle.tasks"
        await until(lambda: pool.fetchval(uncharged), 60.0, "nothing is charged")  # what the scheduler gives up is undone when the worker is back
        took = time.monotonic() - healed
        assert took < 3 * LEASE + 5.0 * crowd(), "they ran again at once"
        await audited(settings)
        figures("everybody was cut off from Postgres", tasks=TASKS, done_after=f"{took:.1f} s")


async def test_what_a_loop_that_stood_still_has_lost_stays_charged(start: Services, pool: Pool, effects: Path) -> None:
    """Its only worker hangs in a handler for three leases: when it goes on, all its tasks wait, taken back."""
    await start("scheduler", lease=LEASE)
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=11, lease=LEASE)
    await given.waiting(pool, 10, ring=False, type="test.slow-at-first", payload=f'{{"seconds": {6 * LEASE}}}')
    await until(lambda: effects.read_text().count("began") == 10, 20.0)
    await given.waiting(pool, ring=False, type="test.slow-at-first", payload=f'{{"seconds": {3 * LEASE}, "blocking": true}}')
    await all_at_rest(pool, 60)
    left = await pool.fetch("SELECT DISTINCT status, retry_count, lost_count FROM waggle.tasks")
    assert [tuple(row) for row in left] == [("completed", 1, 1)]
    assert not await counted(worker, "waggle_losses_undone_total")
