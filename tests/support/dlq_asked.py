"""Dead letters as tests read them: the API's lists, the dlq service's metrics, and commands sent over the bus."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import msgspec

from support.processes import Process
from support.system import Client, Json, ok
from waggle.bus import dlq_commands
from waggle.store import dead_letters


async def listed(api: Client, path: str = "/api/dlq", **filters: Any) -> list[Json]:
    items: list[Json] = ok(await api.get(path, params=filters))["items"]
    return items


def ids(items: list[Json]) -> list[str]:
    return [item["id"] for item in items]


async def metric(dlq: Process, line: str) -> float:
    async with httpx2.AsyncClient(trust_env=False) as http:
        page = (await http.get(dlq.metrics_url)).text
    return next((float(found.rpartition(" ")[2]) for found in page.splitlines() if found.startswith(line)), 0.0)


async def a_retry(pool: "asyncpg.Pool[asyncpg.Record]", task_id: UUID, seconds: float = 5.0, payload: str | None = None) -> bytes:
    until_ = await dead_letters.now(pool) + timedelta(seconds=seconds)
    return msgspec.json.encode(dlq_commands.RetryTask(asked_by="anna", until=until_, id=task_id, payload=payload))
