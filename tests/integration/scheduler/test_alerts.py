"""Alerts by webhook: sent once that they fire and once that they are over, again as a task when the webhook does not take them."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from support import given
from support.called import Called, called
from support.facts import until
from support.system import Services, client_of, ok
from waggle import webhooks

Pool = asyncpg.Pool
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(target: Called) -> dict[str, Any]:
    return {"alert_url": f"{target.url}/alerts", "alert_secret": SECRET, "alert_interval": 0.2}


def messages(target: Called) -> list[Any]:
    """What came, each with a signature that fits."""
    found = []
    for request, body in zip(target.calls, target.bodies, strict=True):
        signed = webhooks.headers([webhooks.read_secret(SECRET)], request.headers["webhook-id"], body, float(request.headers["webhook-timestamp"]))
        assert request.headers["webhook-signature"] == signed["webhook-signature"]
        found.append(json.loads(body))
    return found


async def test_two_schedulers_tell_an_alert_once_and_that_it_is_over(start: Services, pool: Pool) -> None:
    await pool.execute("INSERT INTO waggle.queues (name) VALUES ('quiet') ON CONFLICT DO NOTHING")
    waiting = await given.waiting(pool, 3, queue="quiet")
    await given.change(pool, waiting, "run_at = now() - interval '10 minutes'")
    async with called() as target:
        for _ in range(2):
            await start("scheduler", **settings(target))
        await until(lambda: target.calls, 10.0)
        assert [(m["type"], m["data"]["name"], m["data"]["labels"]) for m in messages(target)] == [("alert.firing", "tasks_unserved", {"queue": "quiet"})]
        await pool.execute("DELETE FROM waggle.tasks")

        async def is_over() -> bool:
            """As if a minute had passed; a look that began before may have seen it once more."""
            await pool.execute("UPDATE waggle.alerts SET seen = now() - interval '2 minutes' WHERE resolved_at IS NULL")
            return len(target.calls) == 2

        await until(is_over, 20.0)
        firing, over = messages(target)
        assert (over["type"], over["data"]["id"]) == ("alert.resolved", firing["data"]["id"])
        assert len({request.headers["webhook-id"] for request in target.calls}) == 2


async def test_a_message_that_is_not_taken_is_a_task_that_is_tried_again(start: Services, lanes: None, pool: Pool) -> None:
    api = await start("api")
    async with called() as target, client_of(api) as client:
        target.status = 503
        await start("scheduler", **settings(target))
        raised = ok(await client.post("/api/alerts/test"), 201)

        async def sent() -> Any:
            found = ok(await client.get(f"/api/alerts/{raised['id']}"))
            return found if "sent" in found else None

        found = await until(sent, 10.0)
        assert (found["name"], found["sent"], found["error"]) == ("test", "firing", "the webhook answered 503")
        [task] = await until(lambda: pool.fetch("SELECT payload::text FROM waggle.tasks WHERE type = 'alert.send'"), 5.0)
        assert json.loads(task["payload"])["message_id"] == f"{raised['id']}.firing"
        assert SECRET not in task["payload"]

        target.status = 200
        await start("worker", **{name: value for name, value in settings(target).items() if name != "alert_interval"})
        await until(lambda: pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE type = 'alert.send' AND status = 'completed'"), 10.0)
        assert {request.headers["webhook-id"] for request in target.calls} == {f"{raised['id']}.firing"}
        assert messages(target)[-1]["data"]["name"] == "test"
        assert ok(await client.get("/api/alerts", params={"firing": True}))["items"][0]["id"] == raised["id"]


async def test_redirects_are_not_followed_and_a_wrong_secret_stops_the_start(start: Services, pool: Pool) -> None:
    async with called() as target:

        async def elsewhere(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"location": f"{target.url}/other"})

        target.answering = elsewhere
        with pytest.raises(webhooks.NotTaken, match="302"):
            await asyncio.to_thread(webhooks.post, target.url, b"x" * 32, "id", b"{}")
        assert [request.path for request in target.calls] == ["/"]
    process = start.launch("scheduler", alert_url="http://127.0.0.1:1/", alert_secret="whsec_short")
    assert await process.ended() == 2
    assert "WAGGLE_ALERT_SECRET must be whsec_" in process.tail()
