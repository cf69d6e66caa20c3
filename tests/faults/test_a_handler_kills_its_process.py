"""Handlers that kill their own worker: each is a dead letter after exactly its tries, and its neighbours finish elsewhere."""

from collections import Counter
from pathlib import Path

import asyncpg

from support import given
from support.loops import again_and_again
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
POISONS = sized(2, 3)
MAX_RETRIES = sized(2, 3)
NEIGHBOURS_RETRIES = 3
NEIGHBOURS = sized(100, 1_000)
LEASE = sized(2.0, 15.0)


async def start_again(start: Services, effects: Path, workers: list[Process]) -> None:
    """A supervisor: starts a worker for each one that died."""
    for number, worker in enumerate(workers):
        if not worker.alive:
            worker.ended_by_test = True
            workers[number] = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=10, lease=LEASE)


async def test_it_is_dead_after_exactly_its_tries_while_its_neighbours_finish(start: Services, pool: Pool, effects: Path) -> None:
    await start("scheduler", lease=LEASE)
    workers = [await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=10, lease=LEASE) for _ in range(2)]
    async with again_and_again(lambda: start_again(start, effects, workers), 0.05):
        neighbours = await given.waiting(pool, NEIGHBOURS, ring=False, type="test.work", payload='{"seconds": 0.2}', max_retries=NEIGHBOURS_RETRIES)
        poisons = await given.waiting(pool, POISONS, ring=False, type="test.kills-itself", max_retries=MAX_RETRIES)
        neighbours += await given.waiting(pool, NEIGHBOURS, ring=False, type="test.work", payload='{"seconds": 0.2}', max_retries=NEIGHBOURS_RETRIES)
        await all_at_rest(pool, 400)
    began = Counter(line.split()[1] for line in effects.read_text().splitlines() if line.startswith("began "))
    for poison in poisons:
        row = await given.row(pool, poison)
        lost = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE task_id = $1 AND outcome = 'lost'", poison)
        assert (row["status"], lost, row["retry_count"]) == ("dead_letter", 1 + MAX_RETRIES, MAX_RETRIES)
        assert began[str(poison)] <= 1 + MAX_RETRIES

    # On its last try a suspect runs without other suspects, so nobody is lost more often than it has retries.
    most_lost = await pool.fetchval("SELECT max(lost_count) FROM waggle.tasks WHERE type = 'test.work'")
    assert 0 < most_lost <= NEIGHBOURS_RETRIES, "no neighbour was hit" if not most_lost else "a neighbour was hit on its last try"
    lost_often = await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE type = 'test.work' AND lost_count > 1")
    deaths = len(start.processes) - 1 - len(workers)
    history = History(accepted=[str(task_id) for task_id in neighbours])
    counts = await check(pool, history, effects, duplicates_at_most=10 * deaths)
    figures(
        "handlers that kill their own process",
        poison_tasks=POISONS,
        tries=1 + MAX_RETRIES,
        processes_killed=deaths,
        neighbours=len(neighbours),
        neighbours_lost_more_than_once=lost_often,
        most_lost=most_lost,
        **counts,
    )
