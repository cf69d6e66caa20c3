"""What changes with more worker processes, waiting tasks, finished rows, or large payloads.

    uv run python bench/scale.py                                    # all four, one JSON line each
    uv run python bench/scale.py workers  [--workers 1,2,4]         # a drain by 1, 2 and 4 worker processes
    uv run python bench/scale.py waiting  [--waiting 10000,100000,1000000]      # 40,000 tasks drained while others wait
    uv run python bench/scale.py finished [--finished 0,1000000,5000000]      # three drains, the cost per task, and lists
    uv run python bench/scale.py payloads [--large 110] [--words]      # small tasks, with 110 payloads of 1 MiB a second

Rates are measured by the database's clock, from the first start to the last settled task; workers run before they get the first task. Before each
drain the tables are vacuumed and a checkpoint is made, so that filling them is not measured.
"""

import argparse
import asyncio
import base64
import os
import random
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import uvloop
from uuid_utils.compat import uuid7

import latency
import lists
import past
from drain import fill
from load import post
from stage import FleetSettings, Stage, cpu_seconds, memory_mb, percentiles, report, stage
from waggle.bus import connection, subjects
from waggle.store import postgres, queues

DRAINED = 40_000
ROUNDS = 3
SLOTS = 1000
RATE, LARGE_SECONDS, WARM_UP = 200, 20.0, 2.0
MOST_SECONDS = 120.0
WORDS = ("customer", "invoice", "amount", "paid", "open", "address", "order", "item", "price", "tax", "total", "currency", "date", "reference", "note", "id")

SPAN = """
SELECT count(*) AS count, extract(epoch FROM max(completed_at) - min(started_at))::float8 AS seconds
FROM (SELECT started_at, completed_at FROM waggle.tasks WHERE id > $1 AND status = 'completed' AND started_at > $2 ORDER BY completed_at LIMIT $3)
"""

WRITE_AHEAD = (
    "ALTER SYSTEM SET min_wal_size = '2GB'",
    "SELECT pg_reload_conf()",
    "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))) FROM generate_series(1, 2300)",
    "CHECKPOINT",
)

LARGE_DONE = """
SELECT (count(*) - 1) / extract(epoch FROM max(completed_at) - min(completed_at))::float8 AS per_s
FROM waggle.tasks WHERE type = 'bench.large' AND status = 'completed'
"""


async def pause(settings: FleetSettings, *, paused: bool) -> None:
    async with postgres.pool(settings, "bench", 1) as pool, connection.connection(settings, "bench") as bus:
        await queues.pause(pool, "default", paused=paused)
        await bus.publish(subjects.CONTROL_ALL, subjects.RELOAD_PAUSES)
        await bus.flush()


def settled(workers: list[dict[str, Any]]) -> int:
    """Attempts that ended on these workers, from their metrics: that costs Postgres nothing."""
    total = 0.0
    for worker in workers:
        with urllib.request.urlopen(worker["metrics_url"]) as page:  # noqa: S310  # our own address
            lines = page.read().decode().splitlines()
        total += sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("waggle_attempts_total{"))
    return int(total)


def postgres_cpu(on: Stage) -> float:
    pids = [on.database_pid, *map(int, Path(f"/proc/{on.database_pid}/task/{on.database_pid}/children").read_text().split())]
    used = 0.0
    for pid in pids:
        with suppress(FileNotFoundError):  # a backend that has ended
            used += cpu_seconds(pid)
    return used


def drain(on: Stage, count: int, since: UUID, workers: int = 1) -> dict[str, float]:
    """Start workers, let them settle `count` of the tasks with ids after `since`, and stop them."""
    asyncio.run(pause(on.settings, paused=True))
    started = [on.start("worker", concurrency=SLOTS) for _ in range(workers)]
    began = asyncio.run(ask(on.settings, "SELECT now() AS now"))["now"]
    before, database_before = sum(cpu_seconds(worker["pid"]) for worker in started), postgres_cpu(on)
    asyncio.run(pause(on.settings, paused=False))
    deadline = time.monotonic() + MOST_SECONDS
    while settled(started) < count:
        assert time.monotonic() < deadline, f"{settled(started)} of {count} tasks settled in {MOST_SECONDS} s"
        time.sleep(0.2)
    done = settled(started)
    cpu, database_cpu = sum(cpu_seconds(worker["pid"]) for worker in started) - before, postgres_cpu(on) - database_before
    peak = max(memory_mb(worker["pid"]) for worker in started)
    for worker in started:
        on.stop(worker["pid"])
    row = asyncio.run(ask(on.settings, SPAN, since, began, count))
    assert row["count"] == count
    return {
        "drain_per_s": round(count / row["seconds"]),
        "worker_cpu_us_per_task": round(cpu / done * 1e6, 1),
        "postgres_cpu_us_per_task": round(database_cpu / done * 1e6, 1),
        "worker_peak_mb": round(peak, 1),
    }


async def ask(settings: FleetSettings, query: str, *values: object) -> asyncpg.Record:
    plain = await asyncpg.connect(settings.postgres_url)  # without the short timeouts of the services
    try:
        row = await plain.fetchrow(query, *values)
    finally:
        await plain.close()
    assert row is not None
    return row


def averaged(rounds: list[dict[str, float]]) -> dict[str, object]:
    """The mean of each figure, and the rate of each round."""
    means: dict[str, object] = {name: round(sum(each[name] for each in rounds) / len(rounds), 1) for name in rounds[0]}
    return {**means, "rounds": [each["drain_per_s"] for each in rounds]}


def filled(on: Stage, count: int) -> UUID:
    """Insert `count` tasks; returns the id before the first of them."""
    since: UUID = uuid7()
    asyncio.run(fill(on.settings, count))
    asyncio.run(past.tidy(on.settings))
    return since


def workers(args: argparse.Namespace) -> None:
    figures = {}
    for number in args.workers:
        with stage() as on:
            since = filled(on, DRAINED * 2)
            on.start("scheduler")
            figures[number] = drain(on, DRAINED * 2, since, number)
    report(workers=figures, tasks=DRAINED * 2, concurrency=SLOTS)


def waiting(args: argparse.Namespace) -> None:
    """Fewer than 40,000 waiting tasks are drained and inserted again; of more, 40,000 are drained twice."""
    figures = {}
    for number in args.waiting:
        with stage() as on:
            on.start("scheduler")
            rounds = []
            for again in range(max(2, DRAINED // number)):
                if number < DRAINED * 2.2 or not again:
                    since = filled(on, number)
                rounds.append(drain(on, min(DRAINED, number), since))
        figures[number] = averaged(rounds)
    report(waiting=figures, drained=DRAINED, concurrency=SLOTS)


def finished(args: argparse.Namespace) -> None:
    """The lists are measured twice: behind the drained tasks, which are all completed and of one type, and without them, where all sorts are evenly mixed."""
    figures: dict[int, dict[str, object]] = {}
    with stage() as on:
        on.start("scheduler")
        asyncio.run(past.add_scheduled(on.settings))
        there, start = 0, uuid7()
        for number in sorted(args.finished):
            began = time.monotonic()
            asyncio.run(past.add_finished(on.settings, there + 1, number, max(args.finished)))
            there, made_s = number, round(time.monotonic() - began, 1)
            rounds = [drain(on, DRAINED, filled(on, DRAINED)) for _ in range(ROUNDS)]
            figures[number] = {**averaged(rounds), "rows_made_s": made_s}
        api = on.start("api")
        behind = lists.measure(api["api_url"])
        drained = asyncio.run(past.delete_after(on.settings, start))
        even = lists.measure(api["api_url"])
        listed = {"lists_ms": even, f"lists_ms_behind_{drained}_newer_echo_tasks": behind, "api_peak_mb": round(memory_mb(api["pid"]), 1)}
        report(finished=figures, **listed, drained=DRAINED, concurrency=SLOTS)


def large_body(*, words: bool) -> bytes:
    """A payload of 1 MiB: random text, which does not compress, or words."""
    size = (1 << 20) - len('{"body":""}')
    chosen = random.choices(WORDS, k=size // 3)  # noqa: S311  # text, not secrecy
    text = " ".join(chosen) if words else base64.b64encode(os.urandom(size)).decode()
    return msgspec.json.encode({"type": "bench.large", "payload": {"body": text[:size]}})


async def write_ahead(settings: FleetSettings) -> None:
    """Make the server reuse files of the write-ahead log, as one that has run for a while does: it fills a new file with zeros while all commits wait."""
    plain = await asyncpg.connect(settings.postgres_url)
    for statement in WRITE_AHEAD:
        await plain.execute(statement)
    await plain.close()


def payloads(args: argparse.Namespace) -> None:
    figures: dict[str, object] = {}
    for name, rate in (("without", 0), ("with", args.large)):
        with stage(app="handlers:app") as on:
            asyncio.run(write_ahead(on.settings))
            on.start("scheduler")
            worker, api = on.start("worker"), on.start("api")
            answered = uvloop.run(beside(api["api_url"], rate, large_body(words=args.words)))
            starts = asyncio.run(latency.starts(on, int(RATE * WARM_UP)))
            peaks = {f"{service}_peak_mb": round(memory_mb(ready["pid"]), 1) for service, ready in (("api", api), ("worker", worker))}
            figures[name] = {"start_ms": percentiles(starts), "tasks": len(starts), **peaks}
            if rate:
                figures["large_per_s"] = round((len(answered) - 1) / (answered[-1] - answered[0]), 1)
                figures["large_completed_per_s"] = round(asyncio.run(ask(on.settings, LARGE_DONE))["per_s"], 1)
    report(**figures, small_rate=RATE, large_rate=args.large, large_bytes=1 << 20, words=args.words, seconds=LARGE_SECONDS)


async def beside(url: str, rate: int, body: bytes) -> list[float]:
    """Send small tasks, and after their warm-up also `rate` large ones a second. Returns when each large one was answered."""
    small = asyncio.create_task(latency.submit(url, RATE, WARM_UP + LARGE_SECONDS))
    await asyncio.sleep(WARM_UP)
    request = post(url, "/api/tasks", body)
    answered = await latency.submit(url, rate, LARGE_SECONDS, lambda _: request) if rate else []
    await small
    return answered


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"workers": workers, "waiting": waiting, "finished": finished, "payloads": payloads}


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS, nargs="?")
    parser.add_argument("--workers", type=numbers, default=[1, 2, 4])
    parser.add_argument("--waiting", type=numbers, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--finished", type=numbers, default=[0, 1_000_000])
    parser.add_argument("--large", type=int, default=110)
    parser.add_argument("--words", action="store_true", help="send words instead of random text")
    args = parser.parse_args()
    for part in [args.part] if args.part else PARTS:
        PARTS[part](args)


if __name__ == "__main__":
    main()
