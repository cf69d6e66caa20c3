"""Realistic work: handlers of 1 to 50 ms, some tries fail, all four priorities, one worker process.

    uv run python bench/mixed.py [--tasks 40000] [--concurrency 100]

The handlers sleep, so that this measures how well the slots are used, and not the CPU. Prints one JSON line: utilisation (seconds in handlers, of
the seconds of all slots while tasks waited), tasks_per_s, retries, and the priorities' shares of the starts while all four lanes had waiting tasks
(target: 1 : 3 : 5 : 10).
"""

import argparse
import asyncio
import random

import asyncpg
from uuid_utils.compat import uuid7

from drain import fill, vacuum
from stage import Stage, cpu_seconds, memory_mb, report, stage
from waggle.store import postgres
from waggle.store.tasks import NewTask

SEED = 11
FAIL_ONCE, FAIL_TWICE, REJECT = 0.05, 0.01, 0.005
PRIORITIES = ("low", "medium", "high", "critical")
WEIGHTS = (1, 3, 5, 10)

UNFINISHED = "SELECT EXISTS (SELECT FROM waggle.tasks WHERE status = 'pending') OR EXISTS (SELECT FROM waggle.tasks WHERE status = 'running')"
# All four lanes have waiting tasks until the first lane runs empty; every slot has a waiting task until the last lane runs empty.
WINDOWS = """
SELECT min(first)::float8, min(last)::float8 AS all_full, max(last)::float8 AS some_full
FROM (SELECT extract(epoch FROM min(a.started_at)) AS first, extract(epoch FROM max(a.started_at)) AS last
      FROM waggle.task_attempts a JOIN waggle.tasks t ON t.id = a.task_id WHERE a.attempt = 1 GROUP BY t.priority)
"""
STARTED = """
SELECT t.priority, count(*) AS starts, sum((t.payload ->> 'ms')::float8) / 1000 AS seconds
FROM waggle.task_attempts a JOIN waggle.tasks t ON t.id = a.task_id WHERE a.started_at < to_timestamp($1) GROUP BY t.priority ORDER BY t.priority
"""
TOTALS = """
SELECT (SELECT count(*) FROM waggle.tasks WHERE status = 'completed') AS completed, (SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter') AS dead,
       (SELECT sum(retry_count) FROM waggle.tasks) AS failed_tries, (SELECT count(*) FROM waggle.task_attempts) AS attempts,
       (SELECT count(*) FROM waggle.task_attempts WHERE attempt > 1) AS retries
"""


class Draw:
    """Makes the same tasks in every run."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)  # noqa: S311  # no secret
        self.retries = self.rejects = 0

    def __call__(self, number: int) -> NewTask:
        ms, chance = self._random.uniform(1, 50), self._random.random()
        failures = -1 if chance < REJECT else 2 if chance < REJECT + FAIL_TWICE else 1 if chance < REJECT + FAIL_TWICE + FAIL_ONCE else 0
        self.retries += max(failures, 0)
        self.rejects += failures < 0
        payload = f'{{"ms":{ms:.3f},"failures":{failures}}}'
        return NewTask(id=uuid7(), type="bench.mixed", queue="default", priority=number % len(PRIORITIES), payload=payload, max_retries=3, timeout=300.0)


async def measure(on: Stage, drawn: Draw, count: int, slots: int) -> dict[str, object]:
    async with postgres.pool(on.settings, "bench", 1) as pool:
        while await pool.fetchval(UNFINISHED):  # noqa: ASYNC110  # a fact in the database
            await asyncio.sleep(0.2)
        totals = await pool.fetchrow(TOTALS)
        assert totals is not None
        assert (totals["completed"], totals["dead"], totals["retries"]) == (count - drawn.rejects, drawn.rejects, drawn.retries), dict(totals)
        first, all_full, some_full = await pool.fetchrow(WINDOWS)
        sharing, busy = await pool.fetch(STARTED, all_full), await pool.fetch(STARTED, some_full)
    seconds = some_full - first
    return {
        "utilisation": round(sum(row["seconds"] for row in busy) / (slots * seconds), 3),
        "tasks_per_s": round(sum(row["starts"] for row in busy) / seconds),
        "shares": shares(sharing),
        "shares_asked": {name: round(weight / sum(WEIGHTS), 3) for name, weight in zip(PRIORITIES, WEIGHTS, strict=True)},
        "seconds_all_lanes_full": round(all_full - first, 2),
        "seconds": round(seconds, 2),
        "retries": totals["retries"],
        "dead_letters": totals["dead"],
    }


def shares(rows: list[asyncpg.Record]) -> dict[str, float]:
    total = sum(row["starts"] for row in rows)
    return {PRIORITIES[row["priority"]]: round(row["starts"] / total, 3) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40_000)
    parser.add_argument("--concurrency", type=int, default=100)
    args = parser.parse_args()
    drawn = Draw()
    with stage(app="handlers:app", concurrency=args.concurrency) as on:
        asyncio.run(fill(on.settings, args.tasks, drawn))
        asyncio.run(vacuum(on.settings))
        on.start("scheduler")
        worker = on.start("worker")
        before = cpu_seconds(worker["pid"])
        figures = asyncio.run(measure(on, drawn, args.tasks, args.concurrency))
        cpu = cpu_seconds(worker["pid"]) - before
        report(
            **figures,
            tasks=args.tasks,
            concurrency=args.concurrency,
            worker_cpu_us_per_task=round(cpu / args.tasks * 1e6, 1),
            worker_peak_mb=round(memory_mb(worker["pid"]), 1),
        )


if __name__ == "__main__":
    main()
