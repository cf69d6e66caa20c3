"""How fast Waggle, pgqueuer and BullMQ drain the same no-op tasks, one worker process each, in turns.

    uv run python bench/peers.py --tasks 60000 --concurrency 1000 --rounds 3

Each peer gets servers of its own: pgqueuer the embedded Postgres with Waggle's settings, BullMQ a `redis-server` (Debian's) with an append-only file and fsync
each second, so it may lose a second that Waggle may not. Needs `npm` and `redis-server`. Prints one JSON line.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from stage import report
from waggle_embedded import postgres
from waggle_embedded.placement import free_port, temporary_folder

HERE = Path(__file__).parent
PGQUEUER = "pgqueuer==1.6.0"
BULLMQ = ("bullmq@6.7.0", "ioredis@6.0.0")
BATCH = 500
"""Of the sizes 100, 250, 500 and 1,000 the one with which pgqueuer was fastest here."""


def waggle(tasks: int, concurrency: int) -> int:
    out = _last_line(sys.executable, str(HERE / "drain.py"), "--tasks", str(tasks), "--concurrency", str(concurrency))
    return int(msgspec.json.decode(out)["drain_per_s"])


def pgqueuer(folder: Path, tasks: int) -> int:
    database = postgres.start(folder / "postgres")
    try:
        uv = ("uv", "run", "--no-project", "--with", PGQUEUER, "--with", "asyncpg==0.32.0", "--with", "uvloop==0.23.0")
        return int(_last_line(*uv, "python", str(HERE / "peers" / "pgqueuer_drain.py"), database.url, str(tasks), str(BATCH)))
    finally:
        database.stop()


def bullmq(folder: Path, modules: Path, tasks: int, concurrency: int) -> int:
    port = free_port()
    command = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        return int(_last_line("node", str(modules / "bullmq_drain.mjs"), str(port), str(tasks), str(concurrency)))
    finally:
        server.terminate()
        server.wait(30)


def _last_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60_000)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rates: dict[str, list[int]] = {"waggle": [], "pgqueuer": [], "bullmq": []}
    with temporary_folder() as modules:
        (modules / "bullmq_drain.mjs").write_bytes((HERE / "peers" / "bullmq_drain.mjs").read_bytes())
        subprocess.run(("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(modules), *BULLMQ), check=True, stdout=subprocess.DEVNULL)  # noqa: S607  # as on the command line
        for _ in range(args.rounds):
            rates["waggle"].append(waggle(args.tasks, args.concurrency))
            with temporary_folder() as folder:
                rates["pgqueuer"].append(pgqueuer(folder, args.tasks))
            with temporary_folder() as folder:
                rates["bullmq"].append(bullmq(folder, modules, args.tasks, args.concurrency))
    middle = {name: round(statistics.median(of)) for name, of in rates.items()}
    ratios = {f"ratio_{name}": round(middle["waggle"] / middle[name], 2) for name in ("pgqueuer", "bullmq")}
    report(**{f"{name}_per_s": of for name, of in rates.items()}, **ratios, tasks=args.tasks, concurrency=args.concurrency)


if __name__ == "__main__":
    main()
