"""An async handler blocks the event loop of its worker for longer than a lease: its attempt is fenced, and so are those of all its neighbours.

The worker cannot renew its lease, so all its tasks run again elsewhere, at the cost of a try each, and their first results are discarded. This
includes threads and process handlers, which were not blocked.
"""

import json
from pathlib import Path
from uuid import UUID

import asyncpg

from support import given
from support.facts import until
from support.metrics import counted
from support.oracle import History, check
from support.rest import at_rest
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
LEASE = sized(2.0, 15.0)


async def test_it_and_its_neighbours_run_again_elsewhere(start: Services, pool: Pool, effects: Path) -> None:
    await start("scheduler", lease=LEASE)
    environ = {"EFFECTS": str(effects)}
    blocked = await start("worker", environ=environ, app="support.handlers:app", lease=LEASE, handler_processes=1)
    under = await pool.fetchval("SELECT id FROM waggle.workers")

    async def waiting(task_type: str, **payload: object) -> UUID:
        [task_id] = await given.waiting(pool, ring=False, type=task_type, payload=json.dumps(payload))
        return task_id

    neighbours = [await waiting(task_type, seconds=LEASE) for task_type in ("test.work", "test.thread", "test.process")]
    await until(lambda: effects.read_text().count("began") == 3, 20.0)
    blocker = await waiting("test.slow-at-first", seconds=3 * LEASE, blocking=True)
    await until(lambda: effects.read_text().count("began") == 4, 20.0)
    await start("worker", environ=environ, app="support.handlers:app", lease=LEASE, handler_processes=1)

    for task_id in [*neighbours, blocker]:
        row = await at_rest(pool, task_id, 10 * LEASE)
        assert (row["status"], row["retry_count"], row["lost_count"]) == ("completed", 1, 1)
        assert [outcome for outcome in row["outcomes"] if outcome != "given_back"] == ["lost", "completed"]
        assert row["worker_id"] != under
        assert json.loads(row["result"] or "{}").get("attempt", row["attempt"]) == row["attempt"]

    async def all_dropped() -> bool:
        return sum((await counted(blocked, "waggle_outcomes_dropped_total")).values()) == 4

    await until(all_dropped, 6 * LEASE, "results of the blocked worker are dropped and counted")
    history = History(accepted=[str(task_id) for task_id in [*neighbours, blocker]])
    counts = await check(pool, history, effects, duplicates_at_most=4)
    figures("a blocked loop", blocked_for=f"{3 * LEASE:g} s", lease=LEASE, **counts, dropped=await counted(blocked, "waggle_outcomes_dropped_total"))
