"""What an old snapshot costs: somebody's idle transaction, held while tasks run, against the same without one.

    uv run python bench/snapshots.py --tasks 640000 --rounds 8 [--concurrency 1000]

Two systems, a round on each in turn: fill it with a part of the tasks, then run them. In one of them an idle transaction is open from the start.
Prints the rate of each round (by the database's clock, from the first start of a handler to the last settled task), and one JSON line: the
rates of the last round, and the longest time of each statement of the services (in ms) while that ran, as pg_stat_statements saw it.
"""

import argparse
import asyncio
import re
import time
import urllib.request
from typing import Any
from uuid import UUID

import asyncpg

from drain import fill
from stage import Stage, report, stage
from waggle.store.sql import names, statement

DRAIN_SECONDS = 600.0
LEAST_CALLS = 3  # of a statement, to be shown


def shape(text: str) -> str:
    """A statement without its constants, which pg_stat_statements leaves out."""
    without = re.sub(r"/\*.*?\*/|'[^']*'|\b(?:true|false|null|epoch)\b", " ", text.lower())
    return " ".join(re.findall(r"[a-z_]+", without))


NAMES = {shape(statement(name).text("waggle")): name for name in names()}


async def hold(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A transaction that has looked once and then does nothing."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "forgotten"})
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.fetchval("SELECT count(*) FROM waggle.queues")
    return connection


def attempts(metrics_url: str) -> int:
    """How many attempts this worker has ended."""
    with urllib.request.urlopen(metrics_url) as page:  # noqa: S310  # our own address
        lines = page.read().decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("waggle_attempts_total{")))


class Side:
    """One of the two systems."""

    def __init__(self, on: Stage) -> None:
        self.on = on
        on.start("scheduler")
        self.worker: dict[str, Any] = on.start("worker")
        self.done = 0

    async def round(self, tasks: int) -> float:
        """Tasks a second. The worker is stopped while the tasks come in."""
        self.on.stop(self.worker["pid"])
        connection = await asyncpg.connect(self.on.settings.postgres_url)
        try:
            last = await connection.fetchval("SELECT id FROM waggle.tasks ORDER BY id DESC LIMIT 1") or UUID(int=0)
            await fill(self.on.settings, tasks)
            await connection.execute("SELECT pg_stat_statements_reset()")
            self.worker = self.on.start("worker")
            deadline = time.monotonic() + DRAIN_SECONDS
            while await asyncio.to_thread(attempts, self.worker["metrics_url"]) < tasks:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{tasks} tasks did not run in {DRAIN_SECONDS:g} s")
                await asyncio.sleep(0.2)
            row = await connection.fetchrow(
                """SELECT count(*) AS count, extract(epoch FROM max(completed_at) - min(started_at))::float8 AS seconds
                   FROM waggle.tasks WHERE id > $1 AND status || '' = 'completed'""",
                last,
            )
        finally:
            await connection.close()
        assert row is not None
        assert row["count"] == tasks
        return tasks / float(row["seconds"])

    async def statements(self) -> dict[str, dict[str, float]]:
        """Of each statement of the services since the last round began: calls, and milliseconds in all and of the longest."""
        connection = await asyncpg.connect(self.on.settings.postgres_url)
        try:
            rows = await connection.fetch(
                "SELECT query, calls, total_exec_time AS all, max_exec_time AS longest FROM pg_stat_statements ORDER BY total_exec_time DESC"
            )
        finally:
            await connection.close()
        found = ((NAMES.get(shape(row["query"])), row) for row in rows)
        return {name: {"calls": row["calls"], "ms": round(row["all"], 1), "longest_ms": round(row["longest"], 1)} for name, row in found if name}


async def measure(without: Side, under: Side, tasks: int, rounds: int) -> dict[str, object]:
    holder = await hold(under.on.settings.postgres_url)
    rates: list[tuple[float, float]] = []
    for number in range(rounds):
        rates.append((await without.round(tasks // rounds), await under.round(tasks // rounds)))
        plain, held = rates[-1]
        print(f"after {tasks // rounds * number:,} tasks: {plain:,.0f}/s without, {held:,.0f}/s under a snapshot, {held / plain:.2f} x", flush=True)
    await holder.close()
    print("statements without:", await without.statements())
    print("statements under:", await under.statements())
    return {"without_per_s": round(rates[-1][0]), "under_per_s": round(rates[-1][1]), "kept": round(rates[-1][1] / rates[-1][0], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=640_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--concurrency", type=int, default=1000)
    args = parser.parse_args()
    options = {"database_settings": {"shared_preload_libraries": "pg_stat_statements"}, "concurrency": args.concurrency}
    with stage(**options) as without, stage(**options) as under:
        for on in (without, under):
            asyncio.run(prepare(on.settings.postgres_url))
        report(tasks=args.tasks, rounds=args.rounds, **asyncio.run(measure(Side(without), Side(under), args.tasks, args.rounds)))


async def prepare(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE EXTENSION pg_stat_statements")
    await connection.close()


if __name__ == "__main__":
    main()
