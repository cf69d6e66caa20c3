"""Says which rows of before services set aside: they break a constraint that was added later. Where Postgres knows that all rows fit, it looks at none."""

import asyncio
from typing import Final
from uuid import UUID

import structlog

from waggle.loops import periodic, wait_for
from waggle.store import waiting
from waggle.store.client import Connection
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

LOOK_SECONDS: Final = 3600.0
BATCH: Final = 2_000  # tasks in one statement
BATCH_PAUSE_SECONDS: Final = 0.05  # between two batches, so that other work is not delayed
NAMED: Final = 20  # tasks in the log line
ADVICE: Final = "`waggle audit --repair` corrects tasks; then run `waggle migrate`"


async def report(pool: Connection, stopping: asyncio.Event) -> None:
    """Look at the start, and every hour."""

    async def step() -> bool:
        if constraints := await waiting.unvalidated(pool):
            if odd := await _odd_tasks(pool, stopping):
                named = [str(task) for task in odd[:NAMED]]
                log.error("rows set aside, no service can work with them", tasks=named, count=len(odd), constraints=constraints, advice=ADVICE)
            else:
                log.warning("constraints not validated", constraints=constraints, advice="`waggle migrate` does it, or says which rows break them")
        return False

    await periodic(LOOK_SECONDS, step, OUTAGE, stopping)


async def _odd_tasks(pool: Connection, stopping: asyncio.Event) -> list[UUID]:
    """All of them, from a walk through the table."""
    odd: list[UUID] = []
    reached: UUID | None = UUID(int=0)
    while reached is not None:
        found, reached = await waiting.odd_rows(pool, reached, BATCH)
        odd += found
        if await wait_for(stopping, BATCH_PAUSE_SECONDS):
            break
    return odd
