"""An exception that escapes a loop ends the worker's process at once, whatever its threads do, so that a supervisor can restart it."""

from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.system import Services
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool


async def test_the_process_ends_without_waiting_for_the_thread(pool: Pool, bus: Bus, lanes: None, start: Services, effects: Path) -> None:
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    [task_id] = await given.waiting(pool, type="test.thread", payload='{"seconds": 60}')
    row = await given.row(pool, task_id)
    await Ringer(bus).ring([(task_id, "default", 1, row["rung_at"])])  # type: ignore[list-item]
    await until(lambda: "began" in effects.read_text())
    worker.ended_by_test = True
    await pool.execute("ALTER TABLE waggle.workers RENAME TO away")  # a mistake and not an outage: waiting does not cure it
    assert await worker.ended(10.0) == 1
    assert worker.logged("crashed")
