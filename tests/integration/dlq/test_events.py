"""Whatever moves dead letters, by hand, by rule or in bulk, is heard on NATS: after the commit, once for each task."""

import json
from collections import Counter
from uuid import UUID

import asyncpg
import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from support import given
from support.facts import until
from support.given_dead import dead, many_dead
from support.system import Services, client_of, ok

Pool = asyncpg.Pool


@pytest.mark.parametrize(("events", "expected"), [("all", {"failed": 3, "pending": 10}), ("final", {"failed": 3})])
async def test_who_leaves_the_dead_letter_queue_is_heard(start: Services, pool: Pool, events: str, expected: dict[str, int]) -> None:
    start.settings = msgspec.structs.replace(start.settings, events=events, dlq_retry_limit=1, dlq_backoff_ms=3_600_000, dlq_redrive_rate=10_000.0)
    api = await start("api")
    await start("scheduler")
    await start("dlq")
    client = await nats.connect(start.settings.nats_url)
    heard: list[tuple[str, UUID]] = []

    async def hear(message: Msg) -> None:
        event = json.loads(message.data)
        assert message.subject == f"waggle.event.{event['status']}.{event['id']}.{event['type']}"
        assert (event["attempt"], event["error_code"]) == (1, "task_execution_failed")
        heard.append((event["status"], UUID(event["id"])))

    await client.subscribe("waggle.event.>", cb=hear)
    await client.flush()
    old, removed, one, due = [(await dead(pool))[0] for _ in range(4)]
    await given.change(pool, old, "updated = now() - interval '10 hours'")
    async with client_of(api) as operator:
        ok(await operator.post(f"/api/dlq/{one}/retry"))
        ok(await operator.post("/api/dlq/cleanup", json={"older_than": 18_000}))
        ok(await operator.delete(f"/api/dlq/{removed}"))
        await given.change(pool, due, "updated = now() - interval '70 minutes'")
        await until(lambda: ("pending", due) in heard or events == "final")
        await many_dead(pool, 8)
        (await operator.post("/api/dlq/retry", json={"all": True})).raise_for_status()  # 200 or 202: it may be done already
        await until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM waggle.tasks WHERE status = 'dead_letter')"), 60.0)
        (last,) = await dead(pool)
        ok(await operator.delete(f"/api/dlq/{last}"))
        await until(lambda: ("failed", last) in heard)
    await client.close()
    assert Counter(status for status, _ in heard) == expected
    assert len(set(heard)) == len(heard)
