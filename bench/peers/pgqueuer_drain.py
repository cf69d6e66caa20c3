"""How fast one pgqueuer process runs waiting no-op jobs. `python pgqueuer_drain.py DSN JOBS BATCH`; prints jobs/s as the database's clock saw it."""

import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

PAYLOAD = ('{"to":"user@example.com","subject":"hello","body":"' + "x" * 200 + '"}').encode()


async def main(dsn: str, jobs: int, batch: int) -> None:
    async with asyncpg.create_pool(dsn, min_size=4, max_size=8) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.install()
        for first in range(0, jobs, 500):
            count = min(500, jobs - first)
            await queries.enqueue(["echo"] * count, [PAYLOAD] * count, [0] * count)
        await pool.execute("VACUUM ANALYZE pgqueuer")
        worker, ran, began = PgQueuer(driver), 0, 0.0

        @worker.entrypoint("echo")
        async def echo(_: Job) -> None:
            nonlocal ran, began
            began = began or time.perf_counter()
            ran += 1

        await worker.run(batch_size=batch, mode=QueueExecutionMode.drain, max_concurrent_tasks=None)
        seconds = time.perf_counter() - began
        waiting = await pool.fetchval("SELECT count(*) FROM pgqueuer")
        assert ran == jobs and waiting == 0, f"{ran} of {jobs} ran, {waiting} wait"  # noqa: PT018  # one line, one fact
        print(round(jobs / seconds))


uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
