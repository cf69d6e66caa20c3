"""What follows from a task's run: its end is reported to its callback, and what its handler emits can be followed."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import msgspec
import pytest
from aiohttp import web

from support.called import Called, called
from support.facts import until
from support.system import Client, Json, Services, ok
from waggle import webhooks

OLD, NEW = ("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def messages(target: Called) -> list[Json]:
    """What came, each signed with both secrets, by its webhook-id."""
    found = []
    for request, body in zip(target.calls, target.bodies, strict=True):
        keys = [webhooks.read_secret(secret) for secret in (OLD, NEW)]
        signed = webhooks.headers(keys, request.headers["webhook-id"], body, float(request.headers["webhook-timestamp"]))
        assert request.headers["webhook-signature"] == signed["webhook-signature"]
        assert len(request.headers["webhook-signature"].split()) == 2
        found.append({**json.loads(body), "webhook-id": request.headers["webhook-id"]})
    return found


@pytest.fixture
def start(start: Services) -> Services:
    """The services of these tests send callbacks."""
    start.settings = msgspec.structs.replace(start.settings, callback_secrets=(OLD, NEW), http_allow=("127.0.0.1",), app="support.handlers:app")
    return start


async def test_each_kind_of_end_is_reported_once(client: Client) -> None:
    async with called() as target:
        url = f"{target.url}/hook"
        done = await client.submit("demo.echo", {"secret": "of the payload"}, callback_url=url, metadata={"order": 17})
        dead = await client.submit("demo.fail", {"message": "x", "retryable": False}, callback_url=url)
        gone = await client.cancel(await client.submit("demo.echo", delay=60, callback_url=url))
        late = await client.submit("demo.sleep", {"seconds": 60}, callback_url=url, deadline=deadline())
        await until(lambda: len(target.calls) >= 4, 15.0)
        found = {(message["type"], message["data"]["id"]): message for message in messages(target)}
        assert found.keys() == {("task.completed", done["id"]), ("task.dead_letter", dead["id"]), ("task.cancelled", gone["id"]), ("task.failed", late["id"])}
        data = found["task.completed", done["id"]]["data"]
        assert (data["status"], data["type"], data["metadata"], data["attempt"]) == ("completed", "demo.echo", {"order": 17}, 1)
        assert b"of the payload" not in b"".join(target.bodies)
        assert found["task.failed", late["id"]]["data"]["error_code"] == "task_timeout"
        assert (await client.task(done))["callback_url"] == url
        deliveries = await client.tasks(type="webhook.deliver")
        assert len(deliveries) == len(target.calls) == 4


def deadline() -> str:
    return (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()


async def test_a_delivery_is_tried_again_under_the_same_id_and_a_receiver_that_is_gone_ends_it(client: Client) -> None:
    async with called() as target:
        statuses = iter([500, 404, 302, 200])

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=410 if request.path == "/gone" else next(statuses))

        target.answering = answer
        await client.submit("demo.echo", callback_url=f"{target.url}/hook")
        await until(lambda: len(target.calls) == 4, 40.0)
        assert len({message["webhook-id"] for message in messages(target)}) == 1
        await client.submit("demo.echo", callback_url=f"{target.url}/gone")

        async def dead() -> Any:
            return ok(await client.get("/api/dlq", params={"type": "webhook.deliver"}))["items"]

        [buried] = await until(dead, 10.0)
        assert buried["retry_count"] == 0


async def test_a_callback_into_our_own_network_is_a_dead_letter(client: Client) -> None:
    await client.submit("demo.echo", callback_url="http://169.254.169.254/latest/meta-data")

    async def dead() -> Any:
        return ok(await client.get("/api/dlq", params={"type": "webhook.deliver"}))["items"]

    [buried] = await until(dead, 10.0)
    assert buried["error"]["code"] == "unauthorized"


async def followed(client: Client, task: Json, last: str = "") -> list[tuple[str, str, Any]]:
    """All that comes until the end: the name, the id and the data of each event."""
    found: list[tuple[str, str, Any]] = []
    fields: dict[str, str] = {}
    headers = {"last-event-id": last} if last else {}
    async with client.stream("GET", f"/api/tasks/{task['id']}/stream", headers=headers, timeout=httpx2.Timeout(30)) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
                fields = {}
    return found


async def test_what_a_handler_emits_is_followed_live_across_a_retry_and_the_last_of_it_is_kept(client: Client, pool: asyncpg.Pool) -> None:
    task = await client.submit("test.emits", {"values": 30, "tries": 2}, max_retries=3)
    live = await followed(client, task)
    values = [(data["attempt"], data["number"], data["value"]) for name, _, data in live if not name]
    assert values == [(attempt, number, {"n": number}) for attempt in (1, 2) for number in range(30)]
    assert [(name, data) for name, _, data in live if name] == [("attempt", {"attempt": 1}), ("attempt", {"attempt": 2}), ("end", {"status": "completed"})]
    assert [event for event in await followed(client, task, "2-27") if not event[0]] == live[-3:-1]
    kept = await pool.fetch("SELECT emitted::text FROM waggle.task_attempts ORDER BY attempt")
    assert [[value["value"]["n"] for value in json.loads(row["emitted"])] for row in kept] == [list(range(10, 30))] * 2
    assert (await client.get(f"/api/tasks/{task['id']}/stream", headers={"last-event-id": "x"})).status_code == 422
    plain = await client.wait(await client.submit("test.emits_in_a_thread"))
    assert [data["value"] for name, _, data in await followed(client, plain) if not name] == ["a", "b", {"c": 1}]
    wrong = await client.wait(await client.submit("test.emits_too_much", max_retries=0))
    assert "65536 are allowed" in wrong["error"]["message"]
