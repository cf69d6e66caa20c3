"""What the door takes, the handler gets; what the door refuses, a worker refuses too, should it come another way."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from support import given
from support.payload_table import REFUSED, TAKEN
from support.system import Client, Services, client_of


@pytest.fixture
async def rest(start: Services) -> AsyncIterator[Client]:
    api, *_ = await asyncio.gather(
        start("api", api_rate_requests=0, api_rate_tasks=0), start("worker", app="support.payload_table:app"), start("scheduler"), start("dlq")
    )
    async with client_of(api) as client:
        yield client


async def test_the_door_and_the_worker_agree(rest: Client, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    async def sent(task_type: str, payload: str) -> tuple[int, str | None]:
        body = f'{{"type": "{task_type}", "payload": {payload}}}'
        answer = await rest.post("/api/tasks", content=body.encode(), headers={"content-type": "application/json"})
        return answer.status_code, answer.json().get("id")

    taken = {(name, payload): await sent(name, payload) for name, payload in TAKEN}
    assert {row: answer for row, answer in taken.items() if answer[0] != 201} == {}
    refused = {(name, payload): await sent(name, payload) for name, payload in REFUSED}
    assert {row: answer for row, answer in refused.items() if answer[0] != 422} == {}

    ended = {row: await rest.wait(str(task_id)) for row, (_, task_id) in taken.items()}
    assert {row: task["error"] for row, task in ended.items() if task["status"] != "completed"} == {}

    inserted = {row: (await given.waiting(pool, type=row[0], payload=row[1], ring=False))[0] for row in REFUSED}
    dead = {row: await rest.wait(str(task_id)) for row, task_id in inserted.items()}
    assert {row for row, task in dead.items() if task["status"] != "dead_letter" or task["error"]["code"] != "validation_error"} == set()
