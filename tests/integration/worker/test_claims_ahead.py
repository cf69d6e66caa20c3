"""A worker with quick handlers claims ahead of its slots: it never runs more than it has slots, and nothing waits behind slow handlers."""

import asyncpg

from support import given
from support.facts import until
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool
SLOTS = 10


async def rung(pool: Pool, bus: Bus, count: int, payload: str, type: str = "test.together") -> list[object]:  # noqa: A002  # the field's name
    ids = await given.waiting(pool, count, type=type, payload=payload)
    rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks WHERE id = ANY ($1) ORDER BY id", ids)
    assert await Ringer(bus, subjects.IDS_LIMIT).ring_confirmed([tuple(row) for row in rows]) is None
    return list(ids)


async def test_never_more_run_than_there_are_slots(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    await start("scheduler")  # rings what a busy worker gives back
    await start("worker", app="support.handlers:app", concurrency=SLOTS)
    ids = await rung(pool, bus, 3_000, '{"seconds": 0.001}')
    await until(lambda: pool.fetchval("SELECT count(*) = $2 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", ids, len(ids)), 20.0)
    assert await pool.fetchval("SELECT max(result::text::int) FROM waggle.tasks") == SLOTS
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome <> 'completed'") < 100, "few were claimed in vain"


async def test_what_was_claimed_ahead_of_slow_handlers_runs_elsewhere_without_cost(pool: Pool, bus: Bus, start: Services, lanes: None) -> None:
    """When the quick ones end, the slow ones fill all slots, and those that were claimed with them find none."""
    await start("scheduler")
    full = await start("worker", app="support.handlers:app", concurrency=SLOTS)
    await rung(pool, bus, 2_000, '{"seconds": 0.0}')
    slow = await rung(pool, bus, 60, '{"seconds": 20}', type="test.work")
    held = "SELECT count(*) FILTER (WHERE t.type = 'test.work') = $2 AND count(*) = $2 FROM waggle.tasks t JOIN waggle.workers w ON w.id = t.worker_id"
    await until(lambda: pool.fetchval(f"{held} WHERE t.status = 'running' AND w.pid = $1", full.pid, SLOTS), 20.0, "slow ones in every slot, and no more held")
    await start("worker", app="support.handlers:app", concurrency=60)
    running = "SELECT count(*) = 60 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'running'"
    await until(lambda: pool.fetchval(running, slow), 5.0, "the other worker runs the rest")
    await until(lambda: pool.fetchval("SELECT count(*) = 2000 FROM waggle.tasks WHERE status = 'completed'"), 20.0)
    assert await pool.fetchval("SELECT max(retry_count + lost_count) FROM waggle.tasks") == 0
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome NOT IN ('completed', 'given_back')") == 0
