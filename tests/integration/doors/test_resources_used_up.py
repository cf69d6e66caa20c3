"""A Postgres that has no disk, memory or connection left is away for every door: 503 and when to try again, and no message is lost or rejected."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import httpx2
import pytest
from nats.aio.client import Client as NatsClient

from support.facts import until
from support.keys import ADMIN_KEY
from support.processes import Process
from support.system import Client, ok

MAIL = {"type": "door.mail", "payload": {"to": "you"}}
USED_UP = {
    "53100": "could not extend file: No space left on device",
    "53200": "out of memory",
    "53300": "sorry, too many clients already",
    "53400": "too many connections of this role",
    "58030": "could not write to file: Input/output error",
    "25P04": "terminating connection due to transaction timeout",
}
FAIL = """
CREATE FUNCTION public.used_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '{code}'; END $$;
DO $$
DECLARE each text;
BEGIN
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'waggle' LOOP
        EXECUTE format('CREATE TRIGGER used_up BEFORE INSERT OR UPDATE OR DELETE ON waggle.%I EXECUTE FUNCTION public.used_up()', each);
    END LOOP;
END
$$"""


@asynccontextmanager
async def used_up(sql: asyncpg.Connection, code: str) -> AsyncIterator[None]:
    """Each statement that writes fails with this SQLSTATE, for the length of the block."""
    await sql.execute(FAIL.format(code=code, words=USED_UP[code]))
    try:
        yield
    finally:
        await sql.execute("DROP FUNCTION public.used_up CASCADE")


def writes(rest: Client, task_id: str) -> list[Awaitable[httpx2.Response]]:
    """One request for each way to write."""
    return [
        rest.post("/api/tasks", json=MAIL),
        rest.post("/api/tasks", json={**MAIL, "unique_key": uuid.uuid4().hex}),
        rest.post("/api/tasks", json=MAIL, headers={"idempotency-key": uuid.uuid4().hex}),
        rest.post("/api/tasks/batch", json={"tasks": [MAIL, MAIL]}),
        rest.delete(f"/api/tasks/{task_id}"),
        rest.post("/api/queues/mail/pause"),
        rest.post("/api/auth/keys", json={"comment": "none", "scopes": ["tasks:read"]}),
        rest.post("/api/users", json={"name": "nobody-new", "role": "viewer", "password": "a long enough password"}),
        rest.post("/api/publishers", json={"name": "none"}),
        rest.post("/api/blocks", json={"address": "203.0.113.7"}),
    ]


@pytest.mark.parametrize("code", USED_UP)
async def test_every_door_waits_or_says_when_to_try_again(
    code: str, doors: Process, rest: Client, sql: asyncpg.Connection, publisher: NatsClient, streams: Callable[[], Awaitable[object]]
) -> None:
    task, key = await rest.submit("door.mail", {"to": "you"}), uuid.uuid4().hex
    crashed = len(doors.logged("request crashed"))
    async with used_up(sql, code):
        published = await publisher.request("waggle.submit.shop.door.mail", b'{"payload": {"to": "you"}}', timeout=5, headers={"Nats-Msg-Id": key})
        assert b"error" not in published.data
        asked = publisher.request("waggle.rpc.submit", b'{"type": "door.mail", "payload": {"to": "you"}}', timeout=15, headers={"X-API-Key": ADMIN_KEY})
        reply, *answers = await asyncio.gather(asked, *writes(rest, task["id"]))
        for answer in answers:
            problem = ok(answer, 503)
            assert (problem["code"], problem["retryable"], answer.headers["retry-after"]) == ("service_unavailable", True, "2"), answer.request.url
            assert USED_UP[code] not in answer.text
        assert (reply.headers or {})["Waggle-Status"] == "503"
        assert (reply.headers or {})["Retry-After"] == "2"
        with pytest.raises(asyncpg.PostgresError) as raised:
            await sql.execute("SELECT waggle.enqueue('door.mail', '{\"to\": \"you\"}')")
        assert raised.value.sqlstate == code
    await until(lambda: sql.fetchval("SELECT count(*) FROM waggle.idempotency_keys WHERE submitter = 'publisher:shop' AND key = $1", key), 15.0)
    assert len(doors.logged("request crashed")) == crashed
