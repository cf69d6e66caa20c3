"""What an idle `waggle up` costs: CPU of all processes, in per cent of one core, and their memory.

    uv run python bench/idle.py [--seconds 30]

Prints one JSON line: idle_cpu_percent, and the share of each process.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stage import cpu_seconds, report

SETTLE = 10.0  # seconds after the start that do not count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "waggle_cli", "up", "--ephemeral", "--port", "8499", "--ready-file", str(ready)]
        up = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not ready.exists():
                assert up.poll() is None, "waggle up ended"
                time.sleep(0.1)
            time.sleep(SETTLE)
            roots = each_process(json.loads(ready.read_text())["pids"])
            before = {name: tree_cpu(pid, name) for name, pid in roots.items()}
            time.sleep(args.seconds)
            after = {name: tree_cpu(pid, name) for name, pid in roots.items()}
            shares = {name: round((after[name] - before[name]) / args.seconds * 100, 2) for name in roots}
            memory = {name: round(resident_mb(pid), 1) for name, pid in roots.items()}
            report(idle_cpu_percent=round(sum(shares.values()), 2), shares=shares, memory_mb=memory, seconds=args.seconds)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def each_process(pids: dict[str, int | list[int]]) -> dict[str, int]:
    """One name for each process. A service with several processes is a list in the ready file; the first keeps the name of the service."""
    named: dict[str, int] = {}
    for name, found in pids.items():
        first, *others = found if isinstance(found, list) else [found]
        named |= {name: first, **{f"{name}-{number}": pid for number, pid in enumerate(others, 2)}}
    return named


def tree_cpu(pid: int, name: str) -> float:
    """CPU of a process; for Postgres, with its child processes."""
    pids = [pid, *(children(pid) if name == "postgres" else [])]
    return sum(cpu_seconds(each) for each in pids if Path(f"/proc/{each}").exists())


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    main()
