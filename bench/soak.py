"""Whether memory stays flat: steady mixed work over REST for a long time, while the memory of every process is sampled.

    uv run python bench/soak.py [--minutes 20] [--rate 250]

Retention is one minute, so that rows come and go as on an old system. Prints one JSON line: for each process, the median of its memory (MB) in the
first and in the last quarter of the time (without the first eighth, in which caches fill), and the growth per hour.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from pathlib import Path

import asyncpg
import httpx2

from stage import Stage, report, stage

BATCH = 50
SAMPLE_EVERY = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=250)
    args = parser.parse_args()
    with stage(app="handlers:app", retention=60.0, dlq_retention_period_ms=60_000) as set_up:
        found = {name: set_up.start(name) for name in ("scheduler", "worker", "api", "dlq")}
        pids = {name: int(ready["pid"]) for name, ready in found.items()}
        tasks, samples = asyncio.run(soak(set_up, found["api"]["api_url"], pids, args.minutes * 60, args.rate))
    counted = {name: values[len(values) // 8 :] for name, values in samples.items()}
    memory = {name: growth(values, args.minutes) for name, values in counted.items()}
    report(minutes=args.minutes, rate=args.rate, tasks=tasks, memory_mb=memory)


def growth(values: list[float], minutes: float) -> dict[str, float]:
    quarter = max(1, len(values) // 4)
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    between = minutes / 60 * 7 / 8 * 3 / 4  # hours from the middle of the first quarter to that of the last
    return {"first": round(first, 1), "last": round(last, 1), "an_hour": round((last - first) / between, 1)}


async def soak(set_up: Stage, url: str, pids: dict[str, int], seconds: float, rate: int) -> tuple[int, dict[str, list[float]]]:
    """Submit tasks and sample memory. Returns the number of tasks, and the samples of each process."""
    samples: dict[str, list[float]] = {name: [] for name in pids}
    began = time.monotonic()

    async def sample() -> None:
        while time.monotonic() < began + seconds:
            for name, pid in pids.items():
                samples[name].append(resident_mb(pid))
            await asyncio.sleep(SAMPLE_EVERY)

    async with asyncpg.create_pool(set_up.settings.postgres_url, min_size=1, max_size=1) as pool, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        sampler = asyncio.create_task(sample())
        tasks = 0
        while (now := time.monotonic()) < began + seconds:
            body = {"tasks": [mixed() for _ in range(BATCH)]}
            (await client.post("/api/tasks/batch", json=body)).raise_for_status()
            (await client.get("/api/tasks", params={"limit": 20, "status": "dead_letter"})).raise_for_status()
            tasks += BATCH
            await asyncio.sleep(max(0.0, began + tasks / rate - now))
        await sampler
        left = await pool.fetchval("SELECT count(*) FROM waggle.tasks")
        assert left < rate * 300, f"retention falls behind: {left} rows"
    return tasks, samples


def mixed() -> dict[str, object]:
    """One task in twenty fails once, one in a hundred always."""
    failures = random.choices((0, 1, -1), (94, 5, 1))[0]  # noqa: S311
    return {"type": "bench.mixed", "payload": {"ms": random.randint(1, 50), "failures": failures}, "priority": random.randint(0, 3)}  # noqa: S311


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    main()
