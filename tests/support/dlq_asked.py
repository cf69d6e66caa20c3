"""The dlq service as tests speak to it beside the API: its metrics, and commands straight over the bus."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import httpx2
import msgspec

from support.processes import Process
from waggle.bus import dlq_commands
from waggle.store import dead_letters


async def metric(dlq: Process, line: str) -> float:
    async with httpx2.AsyncClient(trust_env=False) as http:
        page = (await http.get(dlq.metrics_url)).text
    return next((float(found.rpartition(" ")[2]) for found in page.splitlines() if found.startswith(line)), 0.0)


async def a_retry(pool: "asyncpg.Pool[asyncpg.Record]", task_id: UUID, seconds: float = 5.0, payload: str | None = None) -> bytes:
    until_ = await dead_letters.now(pool) + timedelta(seconds=seconds)
    return msgspec.json.encode(dlq_commands.Retry(asked_by="anna", until=until_, id=task_id, payload=payload))
