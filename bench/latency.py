"""How long it takes from sending a POST to the first line of the handler, at a steady rate.

    uv run python bench/latency.py --rate 200 [--seconds 20]

Ends with one JSON line: start_ms with p50, p95 and p99.
"""

import argparse
import asyncio
import json
import time

import msgspec
import uvloop
from load import post, run
from stage import Stage, percentiles, report, stage
from waggle.store import postgres

WARM_UP = 2.0


async def submit(on: Stage, url: str, rate: int, seconds: float) -> None:
    """One POST every 1/rate seconds, whether or not the one before has been answered."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    under_way: set[asyncio.Task[object]] = set()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        body = msgspec.json.encode({"type": "bench.start", "payload": {"sent": time.time()}})
        requests = iter([post(url, "/api/tasks", body)])
        task: asyncio.Task[object] = loop.create_task(run(url, 1, lambda requests=requests: next(requests, None)))  # type: ignore[misc]
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def starts(on: Stage, skip: int) -> list[float]:
    async with postgres.pool(on.settings, "bench", 1) as pool:
        while await pool.fetchval("SELECT EXISTS (SELECT FROM tasks WHERE status IN ('pending', 'running'))"):
            await asyncio.sleep(0.05)
        rows = await pool.fetch("SELECT result FROM tasks WHERE status = 'completed' ORDER BY id OFFSET $1", skip)
    return [float(json.loads(row["result"])) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    with stage(app="handlers:app") as on:
        on.start("scheduler")
        on.start("worker")
        url = on.start("api")["api_url"]
        uvloop.run(submit(on, url, args.rate, WARM_UP + args.seconds))
        values = asyncio.run(starts(on, int(args.rate * WARM_UP)))
        assert len(values) == int(args.rate * (WARM_UP + args.seconds)) - int(args.rate * WARM_UP), "not every task completed"
        report(start_ms=percentiles(values), rate=args.rate, tasks=len(values))


if __name__ == "__main__":
    main()
