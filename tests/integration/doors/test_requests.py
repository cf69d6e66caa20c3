"""Request and reply over NATS: each verb is a call of the REST API, with its errors; the usual tools find the service."""

import asyncio
import json
from typing import Any

from nats.aio.client import Client as NatsClient

from support.keys import ADMIN_KEY
from support.system import Client, Json

KEY = {"X-API-Key": ADMIN_KEY}


async def ask(client: NatsClient, verb: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[str, Json]:
    """The status and the body of the reply."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await client.request(f"waggle.rpc.{verb}", data, timeout=8, headers=KEY if headers is None else headers)
    found: dict[str, Any] = json.loads(reply.data)
    status = (reply.headers or {})["Waggle-Status"]
    assert ((reply.headers or {}).get("Nats-Service-Error-Code") == status) == (int(status) >= 400)
    return status, found


async def test_each_verb_does_what_its_call_does(publisher: NatsClient, rest: Client) -> None:
    status, task = await ask(publisher, "submit", {"type": "door.mail", "payload": {"to": "you"}}, {**KEY, "Idempotency-Key": "asked once"})
    assert status == "201"
    assert await ask(publisher, "submit", {"type": "door.mail", "payload": {"to": "you"}}, {**KEY, "idempotency-key": "asked once"}) == ("200", task)
    status, batch = await ask(publisher, "submit_batch", [{"type": "door.plain"}, {"type": "door.plain", "priority": 3}])
    assert (status, [one["priority"] for one in batch["items"]]) == ("201", [1, 3])
    assert await ask(publisher, "get", {"id": task["id"]}) == ("200", await rest.task(task["id"]))
    status, found = await ask(publisher, "explain", {"id": task["id"]})
    assert (status, found["reasons"][0]["code"]) == ("200", "queue_not_served")
    assert (await ask(publisher, "explain"))[0] == "200"
    status, figures = await ask(publisher, "stats", {"queue": "mail", "window": 60})
    assert (status, figures["queue"]) == ("200", "mail")
    assert figures["queue_length"] >= 1
    status, cancelled = await ask(publisher, "cancel", {"id": task["id"]})
    assert (status, cancelled["status"]) == ("200", "cancelled")
    first = (await rest.get(f"/api/tasks/{task['id']}/timeline")).json()["items"][0]
    assert first["door"] == "nats request"


async def test_a_request_waits_for_the_end(publisher: NatsClient, rest: Client) -> None:
    task = await rest.submit("door.plain")
    waiting = asyncio.create_task(ask(publisher, "get", {"id": task["id"], "wait": 5}))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await rest.cancel(task)
    assert (await waiting)[1]["status"] == "cancelled"


async def test_a_refusal_has_the_problem_of_rest(publisher: NatsClient) -> None:
    assert (await ask(publisher, "submit", {"type": "door.nothing"}))[1]["errors"][0]["field"] == "type"
    assert (await ask(publisher, "get", {"id": "01a204bd-0cb3-75a4-b0be-964dd1880e5d"}))[0] == "404"
    for verb, body, status, field in (("get", {}, "422", "id"), ("get", {"id": "x"}, "422", "id"), ("stats", {"queue": "mail", "since": 1}, "422", "since")):
        got, problem = await ask(publisher, verb, body)
        assert (got, problem["errors"][0]["field"]) == (status, field)
    assert (await ask(publisher, "cancel", b"{"))[0] == "400"
    assert (await ask(publisher, "stats", {"queue": "nowhere"}))[0] == "404"


async def test_who_has_no_key_is_nobody_and_many_wrong_keys_block_no_other(publisher: NatsClient) -> None:
    for headers in ({}, {"X-API-Key": "wgl_wrong"}, {"Authorization": "Bearer x"}, {"Cookie": "session=x"}):
        status, problem = await ask(publisher, "get", {"id": "01a204bd-0cb3-75a4-b0be-964dd1880e5d"}, headers or {"x": "y"})
        assert (status, problem["code"]) == ("401", "unauthorized")
    for _ in range(40):
        await ask(publisher, "stats", {"queue": "mail"}, {"X-API-Key": "wgl_wrong"})
    assert (await ask(publisher, "stats", {"queue": "mail"}, {"Authorization": f"Bearer {ADMIN_KEY}"}))[0] == "200"


async def test_the_usual_tools_find_the_service(publisher: NatsClient) -> None:
    info = json.loads((await publisher.request("$SRV.INFO.waggle", b"", timeout=5)).data)
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {
        f"waggle.rpc.{verb}" for verb in ("submit", "submit_batch", "get", "cancel", "stats", "explain")
    }
    stats = json.loads((await publisher.request("$SRV.STATS.waggle", b"", timeout=5)).data)
    assert stats["name"] == "waggle"
