"""How fast one worker process runs waiting no-op tasks, with everything on (attempt rows, metrics, heartbeat, scheduler).

    uv run python bench/drain.py --tasks 100000 [--concurrency 1000] [--traces 0.01] [--logs] [--events all]

`--traces` sends everything to a collector that throws it away, with this share of the traces sampled; `--logs` runs handlers that log a line each, which is
kept with the attempt; `--events` says which changes are told on NATS (off, final, all).

The rate is measured by the database's clock, from the first start of a handler to the last settled task. Prints one JSON line: drain_per_s.
"""

import argparse
import asyncio
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from uuid_utils.compat import uuid7

from collector import collector
from stage import FleetSettings, all_settled, cpu_seconds, memory_mb, report, stage
from waggle.bus import connection, subjects, topology
from waggle.bus.ring import Ringer
from waggle.store import postgres, tasks
from waggle.telemetry.traces import TraceContext

PAYLOAD = '{"to":"user@example.com","subject":"hello","body":"' + "x" * 200 + '"}'
BATCH = 500


def echo(number: int, task_type: str = "demo.echo", traces: float | None = None) -> tasks.NewTask:
    context = None if traces is None else TraceContext(uuid4().hex, uuid4().hex[:16], number % 1000 < traces * 1000).parent
    return tasks.NewTask(id=uuid7(), type=task_type, queue="default", priority=1, payload=PAYLOAD, max_retries=3, timeout=300.0, traceparent=context)


async def fill(settings: FleetSettings, count: int, make: Callable[[int], tasks.NewTask] = echo) -> None:
    """Insert and ring `count` tasks; `make` gets the number of each."""
    async with postgres.pool(settings, "bench", 3) as pool, connection.connection(settings, "bench") as bus:
        while not bus.connected:  # noqa: ASYNC110  # once, at the start
            await asyncio.sleep(0.01)
        await topology.ensure(bus, settings, ["default"])
        ringer, gate = Ringer(bus, subjects.IDS_LIMIT), asyncio.Semaphore(3)
        await ringer.open()

        async def one(first: int) -> None:
            async with gate:
                new = {task.id: task for task in map(make, range(first, min(first + BATCH, count)))}
                inserted = await tasks.insert(pool, list(new.values()), ring=True)
                await ringer.ring((task.id, new[task.id].queue, new[task.id].priority, task.rung_at) for task in inserted if task.rung_at)

        await asyncio.gather(*(one(first) for first in range(0, count, BATCH)))


async def vacuum(settings: FleetSettings) -> None:
    async with postgres.pool(settings, "bench", 1) as pool:
        await pool.execute("VACUUM ANALYZE waggle.tasks")


async def measure(settings: FleetSettings, count: int) -> float:
    async with postgres.pool(settings, "bench", 1) as pool:
        await all_settled(pool)
        row = await pool.fetchrow(
            "SELECT count(*) AS count, extract(epoch FROM max(completed_at) - min(started_at))::float8 AS seconds FROM waggle.tasks WHERE status = 'completed'"
        )
        attempts = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'completed'")
    assert row is not None
    assert row["count"] == attempts == count, f"{count} tasks, {row['count']} completed, {attempts} attempts"
    return count / float(row["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--traces", type=float, default=None, metavar="SHARE")
    parser.add_argument("--logs", action="store_true")
    parser.add_argument("--events", default="final", choices=["off", "final", "all"])
    args = parser.parse_args()
    with collector() as address:
        run(args, {} if args.traces is None else {"otlp_endpoint": address})


def run(args: argparse.Namespace, settings: dict[str, object]) -> None:
    app = {"app": "handlers:app"} if args.logs else {}
    with stage(concurrency=args.concurrency, events=args.events, **app, **settings) as on:
        asyncio.run(fill(on.settings, args.tasks, partial(echo, task_type="bench.logs" if args.logs else "demo.echo", traces=args.traces)))
        asyncio.run(vacuum(on.settings))
        on.start("scheduler")
        worker = on.start("worker")
        before, began = cpu_seconds(worker["pid"]), time.monotonic()
        rate = asyncio.run(measure(on.settings, args.tasks))
        cpu = cpu_seconds(worker["pid"]) - before
        with urllib.request.urlopen(worker["metrics_url"]) as page:  # noqa: S310  # our own address
            assert b"waggle_attempts_total" in page.read()
        report(
            drain_per_s=round(rate),
            tasks=args.tasks,
            traces=args.traces,
            logs=args.logs,
            events=args.events,
            concurrency=args.concurrency,
            worker_cpu_us_per_task=round(cpu / args.tasks * 1e6, 1),
            worker_peak_mb=round(memory_mb(worker["pid"]), 1),
            wall_s=round(time.monotonic() - began, 2),
        )


if __name__ == "__main__":
    main()
