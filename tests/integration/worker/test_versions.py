"""Workers with an old and a new version of a type side by side: what one cannot read, the other does, at no cost; what none can read fails at once."""

import asyncpg
import pytest

from support.facts import until
from support.oracle import all_at_rest
from support.system import Client, Services, client_of

Pool = asyncpg.Pool
OLD, NEW = "support.version_old:app", "support.version_new:app"


async def accepted(client: Client, **payload: object) -> None:
    """Wait until the door takes such a payload."""

    async def taken() -> bool:
        answer = await client.post("/api/tasks", json={"type": "skew.job", "payload": payload, "delay": 3600})
        return answer.status_code == 201

    await until(taken, 10)


@pytest.mark.parametrize("kind", ["skew.job", "skew.process"])
async def test_a_payload_that_one_version_cannot_read_is_left_to_the_other(start: Services, pool: Pool, kind: str) -> None:
    api = await start("api")
    await start("scheduler")
    await start("worker", app=OLD, concurrency=100)
    async with client_of(api) as client:
        fits = await client.submit(kind, payload={"a": 1}, max_retries=0)
        assert (await client.wait(fits))["result"] == "old 1"
        await start("worker", app=NEW, concurrency=1)
        await accepted(client, a=1, b="y")
        tasks = [await client.submit(kind, payload={"a": 2, "b": "y"}, max_retries=0) for _ in range(12)]
        for task in tasks:
            found = await client.wait(task, seconds=40)
            assert (found["status"], found["result"], found["retry_count"]) == ("completed", "new 2y", 0)
        ended = [await client.attempts(task) for task in tasks]
        assert all([each["outcome"] for each in attempts][-1] == "completed" for attempts in ended)
        left = [each for attempts in ended for each in attempts[:-1]]
        assert left, "the old worker, which has most slots, saw none of them"
        for each in left:
            assert each["outcome"] == "snoozed"
            assert "cannot read the payload; the task waits for a worker with version" in each["error"]["message"]


async def test_a_payload_that_only_a_worker_of_another_queue_can_read_fails_at_once(start: Services, pool: Pool) -> None:
    api = await start("api")
    await start("scheduler")
    await start("worker", app=OLD)
    await start("worker", app=NEW, queues=("default",))
    async with client_of(api) as client:
        await accepted(client, a=1, b="y")
        task = await client.wait(await client.submit("skew.job", payload={"a": 1, "b": "y"}))
    assert (task["status"], task["error"]["code"], task["attempt"]) == ("dead_letter", "validation_error", 1)


async def test_a_payload_that_no_live_version_can_read_fails_at_once(start: Services, pool: Pool) -> None:
    api = await start("api")
    await start("scheduler")
    new = await start("worker", app=NEW)
    async with client_of(api) as client:
        await accepted(client, a=1, b="y")
        await new.stop()
        tasks = [await client.submit("skew.job", payload={"a": 1, "b": "y"}) for _ in range(3)]
        await start("worker", app=OLD)
        await all_at_rest_but_delayed(pool)
        for task in tasks:
            found = await client.task(task)
            assert (found["status"], found["error"]["code"], found["attempt"]) == ("dead_letter", "validation_error", 1)


async def test_a_payload_that_the_code_of_a_version_refuses_although_its_schema_takes_it_is_left_to_nobody(start: Services) -> None:
    """Each of the two would leave it to the other, again and again."""
    api = await start("api")
    await start("scheduler")
    for code in (OLD, NEW):
        await start("worker", app=code)
    async with client_of(api) as client:
        await accepted(client, a=1, b="y")
        for _ in range(4):
            task = await client.wait(await client.submit("skew.checked", payload={"amount": {"cents": -1}}))
            assert (task["status"], task["error"]["code"], task["attempt"]) == ("dead_letter", "validation_error", 1)
            assert "cents must not be negative" in task["error"]["message"]


async def all_at_rest_but_delayed(pool: Pool) -> None:
    await pool.execute("DELETE FROM waggle.tasks WHERE status = 'pending' AND run_at > now() + interval '10 minutes'")
    await all_at_rest(pool, 20)
