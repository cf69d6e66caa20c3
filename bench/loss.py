"""How soon tasks that were lost with their worker process are done, and what their neighbours pay.

    uv run python bench/loss.py --tasks 100 --seconds 2             # a machine dies: the worker and whatever started it; another worker is left
    uv run python bench/loss.py --tasks 100 --seconds 2 --parent    # one process of `waggle worker --processes 2` dies, which sees it
    uv run python bench/loss.py --tasks 60 --poisons 3 --parent     # these tasks end the process of whatever runs beside them
    uv run python bench/loss.py … --build DIR                       # the same with another checkout's code and virtual environment

Prints one JSON line. done_s: seconds from the kill until every task is at rest (without a kill: from the first start). claims_in_vain_per_loss: claims whose
attempt was given back, for each task that was lost. lost: how many tasks were lost so many times.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from stage import Stage, report, stage

BENCH = Path(__file__).resolve().parent
MOST_SECONDS = 600.0
BATCH = 500
STATEMENTS = "SET search_path = waggle, public"  # older builds keep their tables in the schema public


def main() -> None:
    args = arguments()
    if args.build:
        run_again_with(Path(args.build).resolve())
    with stage(app="handlers:app", concurrency=args.slots or args.tasks) as on, tempfile.TemporaryDirectory(prefix="loss-") as logs:
        on.start("scheduler")
        api = on.start("api")
        workers = Workers(on, Path(logs))
        try:
            figures = asyncio.run(poisons(on, api["api_url"], workers, args) if args.poisons else losses(on, api["api_url"], workers, args))
        finally:
            workers.stop()
        report(**figures, tasks=args.tasks, seconds=args.seconds, poisons=args.poisons, parent=args.parent, left=args.left)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100, help="tasks in flight in the process that dies")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each of them takes")
    parser.add_argument("--slots", type=int, default=0, help="slots of each worker process (default: as many as tasks)")
    parser.add_argument("--left", type=int, default=1, help="worker processes that are left")
    parser.add_argument("--poisons", type=int, default=0, help="this many of the tasks end their process; nothing else is killed")
    parser.add_argument("--parent", action="store_true", help="the processes have a parent, `waggle worker --processes`, that sees them die")
    parser.add_argument("--build", metavar="DIR", help="measure the code of this checkout, with its virtual environment")
    return parser.parse_args()


def run_again_with(build: Path) -> None:
    """Run this program with the other build's Python, and its own module `stage`."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if not (word.startswith("--build=") or (word == "--build" and next(words, "")))]
    python = build / ".venv" / "bin" / "python"
    os.environ["PYTHONPATH"] = str(build / "bench")
    os.execv(python, [str(python), "-P", str(BENCH / "loss.py"), *kept])  # noqa: S606  # no shell is wanted


class Workers:
    """Worker processes in sessions of their own, with the handlers of this folder."""

    def __init__(self, on: Stage, logs: Path) -> None:
        self._on, self._logs = on, logs
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """`waggle worker` with these options."""
        settings = self._on.settings
        env = {key: value for key, value in os.environ.items() if not key.startswith("WAGGLE_")} | {
            "WAGGLE_POSTGRES_URL": settings.postgres_url,  # type: ignore[attr-defined]  # fields of a struct that is made at run time
            "WAGGLE_NATS_URL": settings.nats_url,  # type: ignore[attr-defined]
            "WAGGLE_APP": "handlers:app",
            "WAGGLE_CONCURRENCY": str(settings.concurrency),  # type: ignore[attr-defined]
        }
        with (self._logs / f"{len(self._started)}.log").open("wb") as log:
            command = [sys.executable, "-P", "-m", "waggle_cli", "worker", *words]
            self._started.append(subprocess.Popen(command, cwd=BENCH, env=env, stdout=log, stderr=log, start_new_session=True))
        return self.last

    @property
    def last(self) -> "subprocess.Popen[bytes]":
        return self._started[-1]

    def stop(self) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait(60)


async def losses(on: Stage, url: str, workers: Workers, args: argparse.Namespace) -> dict[str, Any]:
    """Fill one process with tasks, kill it, wait until they are at rest."""
    database = await opened(on)
    if args.parent:
        workers.start("--processes", str(1 + args.left))
        await until_leases(database, 1 + args.left)
        await submit(url, [sleeper(args.seconds)] * (args.tasks * (1 + args.left)))  # as many in each process
        await until(lambda: full(database, args.tasks, 1 + args.left))
    else:
        workers.start()
        await until_leases(database, 1)
        await submit(url, [sleeper(args.seconds)] * args.tasks)
        await until(lambda: full(database, args.tasks, 1))
    victim = await database.fetchrow("SELECT w.pid, w.id FROM workers w JOIN tasks t ON t.worker_id = w.id AND t.status = 'running' LIMIT 1")
    assert victim is not None, "the tasks ended before the kill: give them more --seconds"
    began = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    for _ in range(0 if args.parent else args.left):  # they are ready long before the lease of the dead one expires
        workers.start()
    done = await at_rest(database, began)
    return {"done_s": done, **await losses_of(database)}


async def poisons(on: Stage, url: str, workers: Workers, args: argparse.Namespace) -> dict[str, Any]:
    """Run poisons among other tasks until all are at rest: how often the others were lost, and how many were buried."""
    database = await opened(on)
    workers.start(*(["--processes", str(1 + args.left)] if args.parent else []))
    await until_leases(database, 1 + args.left if args.parent else 1)
    bodies = [die()] * args.poisons + [sleeper(args.seconds)] * (args.tasks - args.poisons)
    random.shuffle(bodies)
    began = time.monotonic()
    await submit(url, bodies)
    watching = None if args.parent else asyncio.create_task(restarting(workers))
    done = await at_rest(database, began)
    if watching is not None:
        watching.cancel()
    tries = await database.fetch("SELECT lost_count FROM tasks WHERE type = 'bench.die'")
    buried = await database.fetchval("SELECT count(*) FROM tasks WHERE type <> 'bench.die' AND status <> 'completed'")
    return {"done_s": done, "tries_of_a_poison": sorted({row["lost_count"] for row in tries}), "neighbours_buried": buried, **await losses_of(database)}


async def restarting(workers: Workers) -> None:
    """Start a worker again when it has died, half a second later."""
    process = workers.last
    while True:
        if process.poll() is not None:
            await asyncio.sleep(0.5)
            process = workers.start()
        await asyncio.sleep(0.05)


def sleeper(seconds: float) -> dict[str, Any]:
    return {"type": "demo.sleep", "payload": {"seconds": seconds}}


def die() -> dict[str, Any]:
    return {"type": "bench.die", "payload": {"after": 0.2}}


async def opened(on: Stage) -> "asyncpg.Connection[asyncpg.Record]":
    database = await asyncpg.connect(on.settings.postgres_url)  # type: ignore[attr-defined]
    await database.execute(STATEMENTS)
    return database


async def submit(url: str, bodies: Sequence[dict[str, Any]]) -> None:
    def send() -> None:
        for first in range(0, len(bodies), BATCH):
            body = json.dumps({"tasks": bodies[first : first + BATCH]}).encode()
            request = urllib.request.Request(f"{url}/api/tasks/batch", body, {"Content-Type": "application/json"})  # noqa: S310  # our own address
            urllib.request.urlopen(request).close()  # noqa: S310

    await asyncio.to_thread(send)


async def until_leases(database: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    async def taken() -> bool:
        return await database.fetchval("SELECT count(*) FROM workers") >= count

    await until(taken)


async def full(database: "asyncpg.Connection[asyncpg.Record]", each: int, processes: int) -> bool:
    """Whether so many processes run so many tasks each."""
    rows = await database.fetch("SELECT count(*) AS running FROM tasks WHERE status = 'running' GROUP BY worker_id")
    return len(rows) >= processes and all(row["running"] >= each for row in rows)


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await fact():  # noqa: ASYNC110  # a fact in the database, not in this process
            await asyncio.sleep(0.02)


async def at_rest(database: "asyncpg.Connection[asyncpg.Record]", began: float) -> float:
    """Wait until every task is at rest; the seconds since `began`."""
    while await database.fetchval("SELECT EXISTS (SELECT FROM tasks WHERE status IN ('pending', 'running'))"):
        if time.monotonic() - began > MOST_SECONDS:
            break
        await asyncio.sleep(0.05)
    return round(time.monotonic() - began, 1)


async def losses_of(database: "asyncpg.Connection[asyncpg.Record]") -> dict[str, Any]:
    """What the losses cost; the poisons themselves are left out."""
    losses = Counter(
        {
            row["lost_count"]: row["count"]
            for row in await database.fetch("SELECT lost_count, count(*) FROM tasks WHERE type <> 'bench.die' GROUP BY lost_count ORDER BY lost_count")
        }
    )
    vain = await database.fetchval("SELECT count(*) FROM task_attempts WHERE outcome = 'given_back'")
    lost = sum(count for times, count in losses.items() if times)
    left = await database.fetchval("SELECT count(*) FROM tasks WHERE status IN ('pending', 'running')")
    return {"lost": {str(times): count for times, count in losses.items()}, "claims_in_vain_per_loss": round(vain / max(1, lost), 2), "not_done": left}


if __name__ == "__main__":
    main()
