"""A client submits tasks of a hundred thousand unknown types: neither memory nor metrics grow with them."""

from pathlib import Path

import asyncpg
import httpx2

from support.facts import until
from support.processes import Process
from support.scale import figures, sized
from support.system import Services, client_of

Pool = asyncpg.Pool

TYPES = sized(5_000, 100_000)
BATCH = 1_000
MIB = 1 << 20
GROWTH = 40 * MIB  # about one batch in flight


def memory(process: Process) -> int:
    """The resident memory of a process, in bytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process without memory")


async def series(process: Process) -> int:
    """The number of series in its metrics, without those of statements: each has its series from the first time that it runs, a heartbeat later than others."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        return sum(not line.startswith(("#", "waggle_statement_duration_seconds")) for line in (await client.get(process.metrics_url)).text.splitlines())


async def test_neither_memory_nor_metrics_grow_with_them(start: Services, pool: Pool, lanes: None) -> None:
    services = {"api": await start("api", unknown_types="accept"), "worker": await start("worker", lease=15.0)}
    async with client_of(services["api"]) as client:

        async def submit(first: int) -> None:
            await client.submit_many([{"type": f"nobody.knows-{number}", "max_retries": 0} for number in range(first, first + BATCH)])

        async def met(count: int) -> None:
            await until(lambda: pool.fetchval("SELECT count(*) >= $1 FROM waggle.task_attempts", count), 60.0, f"the worker has met {count} of them")

        await submit(0)
        await met(BATCH)
        for process in services.values():
            await series(process)  # the first request adds a series
        before = {name: (memory(process), await series(process)) for name, process in services.items()}
        for first in range(BATCH, TYPES, BATCH):
            await submit(first)
        await met(TYPES)
    assert await pool.fetchval("SELECT count(DISTINCT type) FROM waggle.tasks WHERE status = 'pending' AND retry_count = 0") == TYPES
    found = []
    for name, process in services.items():
        was, had = before[name]
        now, has = memory(process), await series(process)
        assert has == had, f"{name} had {had} series and has {has}"
        assert now - was < GROWTH, f"{name} had {was / MIB:.0f} MiB and has {now / MIB:.0f}"
        found.append(f"{name} {was / MIB:.0f} to {now / MIB:.0f} MiB and {has} series")
    figures("as many types as somebody likes", types=TYPES, found="; ".join(found))
