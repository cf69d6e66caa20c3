"""Workers are stopped (SIGSTOP) past their lease and resumed: no stale result is settled, their handlers are cancelled, each dropped result is counted."""

import asyncio
from collections import Counter
from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.metrics import counted
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
ZOMBIES = sized(2, 5)
STOPS_EACH = sized(2, 40)
SLOTS = 5

RUNS = """SELECT count(*) FROM waggle.tasks t JOIN waggle.workers w ON w.id = t.worker_id
          WHERE t.status = 'running' AND t.lost_count = 0 AND w.pid = $1 AND w.id = $2"""
LEASE = "SELECT id FROM waggle.workers WHERE pid = $1 ORDER BY started_at DESC LIMIT 1"
SETTLED_BY_ANOTHER = """
SELECT count(*) FROM waggle.tasks t JOIN waggle.task_attempts a ON a.task_id = t.id AND a.attempt = t.attempt
WHERE a.outcome <> 'completed' OR a.worker_id <> t.worker_id OR a.started_at <> t.started_at OR (t.result ->> 'attempt')::int <> t.attempt
"""


class Feed:
    """Keep work waiting: half of it ends while its worker is stopped, half of it later, when it must be cancelled."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.accepted, self.over = pool, list[str](), asyncio.Event()

    async def go_on(self) -> None:
        while not self.over.is_set():
            if await self.pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'pending' AND lost_count = 0") < 2 * ZOMBIES:
                for seconds in (1, 6):
                    made = await given.waiting(self.pool, ZOMBIES, ring=False, type="test.slow-at-first", payload=f'{{"seconds": {seconds}}}', max_retries=100)
                    self.accepted += map(str, made)
            await asyncio.sleep(0.1)


async def stop_and_go_on(pool: Pool, worker: Process) -> None:
    before = await pool.fetchval(LEASE, worker.pid)
    await until(lambda: pool.fetchval(f"SELECT ({RUNS}) > 1", worker.pid, before), 60.0, "it has work again")
    worker.pause()
    try:
        await until(
            lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM waggle.tasks WHERE worker_id = $1 AND status = 'running')", before), 30.0, "taken back"
        )
    finally:
        worker.resume()
    await until(lambda: pool.fetchval(f"SELECT ({LEASE}) <> $2", worker.pid, before), 30.0, "it continues under a new id")


async def test_nothing_stale_is_settled_and_its_handlers_are_cancelled(start: Services, pool: Pool, effects: Path) -> None:
    await start("scheduler")
    zombies = [await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS) for _ in range(ZOMBIES)]
    feed = Feed(pool)
    feeding = asyncio.create_task(feed.go_on())

    async def live_and_die(zombie: Process) -> None:
        for _ in range(STOPS_EACH):
            await stop_and_go_on(pool, zombie)

    try:
        async with asyncio.TaskGroup() as group:
            for zombie in zombies:
                group.create_task(live_and_die(zombie))
    finally:
        feed.over.set()
        await feeding
    await all_at_rest(pool, 120)
    await compare(pool, effects, zombies, feed.accepted)


async def compare(pool: Pool, effects: Path, zombies: list[Process], accepted: list[str]) -> None:
    assert await pool.fetchval(SETTLED_BY_ANOTHER) == 0
    lost = {(str(row["task_id"]), str(row["attempt"])) for row in await pool.fetch("SELECT task_id, attempt FROM waggle.task_attempts WHERE outcome = 'lost'")}
    did: dict[str, set[tuple[str, str]]] = {"began": set(), "ended": set(), "cancelled": set()}
    for line in effects.read_text().splitlines():
        what, task, attempt, _nonce = line.split()
        did[what].add((task, attempt))
    dropped: Counter[str] = Counter()
    for zombie in zombies:
        dropped.update(await counted(zombie, "waggle_outcomes_dropped_total"))
    assert lost & did["began"] <= did["ended"] | did["cancelled"], "a handler of a lost attempt still runs"
    assert lost & did["cancelled"], "no handler was cancelled, so this test proves nothing"
    assert lost & did["ended"], "no result came too late, so this test proves nothing"
    # a claim answered after the pause counts as lost and starts nothing
    assert len(lost & did["began"]) <= sum(dropped.values()) <= len(lost), f"{len(lost)} lost, dropped by reason: {dict(dropped)}"
    stops = ZOMBIES * STOPS_EACH
    counts = await check(pool, History(accepted=accepted), effects, duplicates_at_most=stops * SLOTS)
    figures(
        "workers stopped past their lease",
        stops=stops, **counts, attempts_lost=len(lost), cancelled=len(lost & did["cancelled"]), ended_too_late=len(lost & did["ended"]),
        dropped=dict(dropped), stale_settles=0,
    )  # fmt: skip
