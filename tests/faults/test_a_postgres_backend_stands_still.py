"""A backend hangs (a stopped process, a dead connection): its connection stays open and never answers, not even a cancellation."""

import os
import signal
from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.rest import at_rest
from support.system import Services

Pool = asyncpg.Pool
LEASE = 6.0


async def test_a_worker_keeps_its_lease_and_its_handlers_when_its_connections_stand_still(pool: Pool, start: Services, effects: Path) -> None:
    await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", lease=LEASE)
    [task_id] = await given.waiting(pool, ring=False, type="test.work", payload=f'{{"seconds": {3 * LEASE}}}')
    await until(lambda: "began" in effects.read_text())
    backends = [row["pid"] for row in await pool.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'waggle-worker'")]
    assert backends
    try:
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        task = await at_rest(pool, task_id, 4 * LEASE)
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    assert (task["status"], task["attempt"], task["outcomes"]) == ("completed", 1, ["completed"])
    assert [line.split()[0] for line in effects.read_text().splitlines()] == ["began", "ended"]
