"""Tasks that publishers hand over on `waggle.submit.<publisher>.<type>`: what a message may look like, and what comes of one that cannot be accepted."""

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from support.facts import until
from support.system import Client, Json, ok, told

MAIL = {"to": "you"}
WINDOW = 0.5  # seconds: the server forgets an id 100 ms after it was stored, and a little later
EVENT = {"specversion": "1.0", "id": "7", "source": "/orders", "type": "com.example.order.placed"}


class Handed:
    """Publishes messages as somebody, and finds what came of each."""

    def __init__(self, client: NatsClient, rest: Client, sql: asyncpg.Connection) -> None:
        self._client, self.rest, self._sql = client, rest, sql

    async def over(self, body: bytes | object, headers: Mapping[str, str] | None = None, *, kind: str = "door.mail", by: str = "shop") -> None:
        """Publish, and wait until the stream has it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = json.loads((await self._client.request(f"waggle.submit.{by}.{kind}", data, timeout=5, headers=dict(headers or {}))).data)
        assert "error" not in reply, reply
        assert not reply.get("duplicate"), reply

    async def task(self, key: str, by: str = "shop") -> Json:
        """The task of a Nats-Msg-Id."""

        async def made() -> object:
            return await self._sql.fetchval("SELECT task_ids[1] FROM waggle.idempotency_keys WHERE submitter = $1 AND key = $2", f"publisher:{by}", key)

        return await self.rest.task(str(await until(made)))

    async def rejection(self, body: bytes | object, headers: Mapping[str, str] | None = None, *, kind: str = "door.mail", by: str = "shop") -> Json:
        """Publish, and the rejection that comes of it."""
        mark = uuid.uuid4().hex
        await self.over(body, {"x-mark": mark, **(headers or {})}, kind=kind, by=by)

        async def there() -> Json | None:
            for one in ok(await self.rest.get("/api/rejected", params={"limit": 1000}))["items"]:
                found = ok(await self.rest.get(f"/api/rejected/{one['id']}"))
                if found.get("headers", {}).get("x-mark") == mark:
                    return found
            return None

        return await until(there)


@pytest.fixture
async def handed(publisher: NatsClient, rest: Client, sql: asyncpg.Connection) -> Handed:
    return Handed(publisher, rest, sql)


def key() -> str:
    return uuid.uuid4().hex


async def test_the_body_is_that_of_rest_and_the_subject_names_its_type(handed: Handed) -> None:
    one = key()
    await handed.over({"payload": MAIL, "priority": "high", "metadata": {"a": 1}}, {"Nats-Msg-Id": one})
    task = await handed.task(one)
    assert (task["type"], task["payload"], task["priority"], task["queue"], task["metadata"]) == ("door.mail", MAIL, 2, "mail", {"a": 1})
    rejection = await handed.rejection({"type": "door.plain"})
    assert rejection["errors"][0] == {"field": "type", "message": "is not that of the subject, door.mail"}


async def test_the_body_is_the_payload_where_headers_say_the_rest(handed: Handed) -> None:
    one = key()
    headers = {
        "Nats-Msg-Id": one,
        "waggle-queue": "default",
        "Waggle-Priority": "3",
        "waggle-max-retries": "1",
        "waggle-timeout": "2.5",
        "waggle-delay": "60",
        "waggle-description": "from the shop",
        "waggle-metadata": '{"order": 17}',
        "waggle-unique-key": one,
    }
    await handed.over(b'{"to":  "you"}', headers)
    task = await handed.task(one)
    assert (task["queue"], task["priority"], task["max_retries"], task["timeout"]) == ("default", 3, 1, 2.5)
    assert (task["payload"], task["description"], task["metadata"], task["unique_key"]) == (MAIL, "from the shop", {"order": 17}, one)
    plain = key()
    await handed.over(MAIL, {"Nats-Msg-Id": plain, "waggle-content": "payload"})
    assert (await handed.task(plain))["payload"] == MAIL
    await handed.over(b"", {"Nats-Msg-Id": f"{plain} empty", "waggle-content": "payload"}, kind="door.plain")
    assert (await handed.task(f"{plain} empty"))["payload"] == {}


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"waggle-colour": "red"}, "waggle-colour"),
        ({"waggle-priority": "7"}, "priority"),
        ({"waggle-timeout": "soon"}, "timeout"),
        ({"waggle-metadata": "[]"}, "waggle-metadata"),
        ({"waggle-content": "both"}, "waggle-content"),
        ({"waggle-content": "task", "waggle-queue": "mail"}, "waggle-queue"),
        ({"waggle-queue": "nowhere"}, "queue"),
    ],
)
async def test_a_header_that_is_wrong_is_named(handed: Handed, headers: dict[str, str], field: str) -> None:
    rejection = await handed.rejection(MAIL, headers)
    assert (rejection["status"], rejection["code"], rejection["errors"][0]["field"]) == (422, "validation_error", field)


@pytest.mark.parametrize("media_type", ["application/cloudevents+json", "application/CloudEvents+JSON; charset=utf-8"])
async def test_a_cloud_event_in_structured_mode(handed: Handed, media_type: str) -> None:
    one = key()
    await handed.over({**EVENT, "subject": one, "data": MAIL, "wagglepriority": "low", "waggledelay": 5}, {"Content-Type": media_type, "Nats-Msg-Id": one})
    task = await handed.task(one)
    assert (task["payload"], task["priority"]) == (MAIL, 0)
    assert task["metadata"] == {"cloudevent": {**{name: EVENT[name] for name in ("id", "source", "type")}, "subject": one}}


async def test_a_cloud_event_in_binary_mode_has_percent_encoded_attributes(handed: Handed) -> None:
    one = key()
    headers = {"ce-specversion": "1.0", "CE-ID": "8", "ce-source": "/orders%20of%20%C3%A4", "ce-type": "t", "ce-wagglequeue": "default", "Nats-Msg-Id": one}
    await handed.over(MAIL, {**headers, "Content-Type": "Application/JSON"})
    task = await handed.task(one)
    assert (task["payload"], task["queue"], task["metadata"]["cloudevent"]["source"]) == (MAIL, "default", "/orders of ä")


async def test_source_and_id_of_a_cloud_event_are_its_key(handed: Handed, sql: asyncpg.Connection) -> None:
    event = {**EVENT, "id": key(), "data_base64": base64.b64encode(json.dumps(MAIL).encode()).decode()}
    headers = {"content-type": "application/cloudevents+json"}
    before = await sql.fetchval("SELECT count(*) FROM waggle.tasks")
    await handed.over(event, headers)
    await handed.over(event, {**headers, "x": "again"})
    await handed.over({**event, "source": "/other"}, headers)

    async def two_more() -> bool:
        return bool(await sql.fetchval("SELECT count(*) FROM waggle.tasks") == before + 2)

    await until(two_more)
    another = base64.b64encode(b'{"to": "another"}').decode()
    assert (await handed.rejection({**event, "data_base64": another}, headers))["errors"][0]["message"] == "was used for another request"


@pytest.mark.parametrize(
    ("body", "headers", "status", "what"),
    [
        ({"specversion": "1.0", "id": "1", "source": "/x", "data": MAIL}, {"content-type": "application/cloudevents+json"}, 422, "type"),
        ({**EVENT, "specversion": "2.0", "data": MAIL}, {"content-type": "application/cloudevents+json"}, 422, "specversion"),
        ([EVENT], {"content-type": "application/cloudevents+json"}, 422, "specversion"),
        ({**EVENT, "data_base64": "!"}, {"content-type": "application/cloudevents+json"}, 422, "data_base64"),
        ({**EVENT, "extra": {"a": 1}}, {"content-type": "application/cloudevents+json"}, 422, "extra"),
        ([EVENT], {"content-type": "application/cloudevents-batch+json"}, 415, "publish one event in a message"),
        (MAIL, {"content-type": "text/plain"}, 415, "send JSON"),
        (b"x" * ((2 << 20) + 1), {}, 413, "up to 2 MiB"),
        (b"{", {}, 400, "is not JSON"),
        (MAIL, {"Nats-Msg-Id": "ä"}, 400, "printable ASCII"),
        (MAIL, {"Nats-Msg-Id": "x" * 256}, 400, "1 to 255"),
    ],
)
async def test_what_cannot_be_read_is_rejected_with_the_reason(handed: Handed, body: object, headers: dict[str, str], status: int, what: str) -> None:
    rejection = await handed.rejection(body, headers)
    assert rejection["status"] == status
    assert what in rejection["detail"] or what in [error["field"] for error in rejection["errors"]]
    if isinstance(body, bytes):
        assert (rejection["size"], rejection["body"]) == (len(body), body.decode())


async def test_a_message_that_comes_twice_is_one_task_and_another_body_under_its_id_is_kept(handed: Handed, sql: asyncpg.Connection) -> None:
    """The stream must not decide that: within its window it would drop the second body, and the equal id of another publisher."""
    one = key()
    await handed.over({"payload": MAIL}, {"Nats-Msg-Id": one})
    first = await handed.task(one)
    await asyncio.sleep(WINDOW)
    await handed.over({"payload": MAIL}, {"Nats-Msg-Id": one, "x": "again"})
    await asyncio.sleep(WINDOW)
    rejection = await handed.rejection({"payload": {"to": "another"}}, {"Nats-Msg-Id": one})
    assert rejection["errors"] == [{"field": "Idempotency-Key", "message": "was used for another request"}]
    await asyncio.sleep(WINDOW)
    await handed.over({"payload": MAIL}, {"Nats-Msg-Id": one}, by="mailer")
    other = await handed.task(one, by="mailer")
    assert other["id"] != first["id"]
    assert await sql.fetchval("SELECT count(*) FROM waggle.idempotency_keys WHERE key = $1", one) == 2


async def test_a_publisher_submits_what_its_row_allows_and_a_stranger_nothing(handed: Handed) -> None:
    assert (await handed.rejection({}, by="mailer", kind="door.plain"))["detail"] == "this key is limited to tasks of the types door.mail"
    assert (await handed.rejection({"payload": MAIL, "queue": "default"}, by="mailer"))["detail"] == "this key is limited to the queues mail"
    stranger = await handed.rejection({"payload": MAIL}, by="stranger")
    assert (stranger["status"], stranger["code"]) == (403, "unauthorized")
    assert "waggle publishers add stranger" in stranger["detail"]


async def test_a_subject_without_publisher_and_type_is_rejected_too(handed: Handed) -> None:
    for kind, by in (("Door.Mail", "shop"), ("mail", "Shop"), ("x" * 70, "shop")):
        rejection = await handed.rejection({"payload": MAIL}, kind=kind, by=by)
        assert (rejection["publisher"], rejection["type"], rejection["status"]) == ("unknown", "unknown", 400)
        assert rejection["subject"] == f"waggle.submit.{by}.{kind}"


async def test_a_rejected_submission_is_submitted_again_after_the_repair_once(handed: Handed, sql: asyncpg.Connection) -> None:
    rest = handed.rest
    rejection = await handed.rejection({"payload": {"to": 5}}, {"Nats-Msg-Id": key()})
    address = f"/api/rejected/{rejection['id']}/resubmit"
    assert told(await rest.post(address)) == {"payload.to": 'the value is not of type "string"'}
    assert told(await rest.post(address, json={"type": "door.mail", "payload": {"to": ""}})) == {"payload.to": "the value is shorter than 3 characters"}
    made = ok(await rest.post(address, json={"type": "door.mail", "payload": MAIL}), 201)
    assert (await rest.post(address)).status_code == 404
    assert await sql.fetchval("SELECT submitted_by FROM waggle.tasks WHERE id = $1", uuid.UUID(made["id"])) == "publisher:shop"

    later = await handed.rejection({"payload": MAIL}, kind="door.soon")
    await sql.execute("INSERT INTO waggle.task_types (name, queue, max_retries, timeout, schema) VALUES ('door.soon', 'default', 3, 300, '{}')")
    as_it_came = ok(await rest.post(f"/api/rejected/{later['id']}/resubmit"), 201)
    assert as_it_came["type"] == "door.soon"


async def test_rejections_are_paged_by_publisher_and_discarded(handed: Handed) -> None:
    rest = handed.rest
    mine = [(await handed.rejection({"payload": {"to": number}}, by="mailer"))["id"] for number in range(3)]
    page = ok(await rest.get("/api/rejected", params={"publisher": "mailer", "limit": 2}))
    found = [one["id"] for one in page["items"]]
    while "next_cursor" in page:
        page = ok(await rest.get("/api/rejected", params={"publisher": "mailer", "limit": 2, "cursor": page["next_cursor"]}))
        found += [one["id"] for one in page["items"]]
    assert found == sorted(found)
    assert set(mine) <= set(found)
    assert all(one["publisher"] == "mailer" for one in page["items"])
    assert ok(await rest.delete(f"/api/rejected/{mine[0]}"))["id"] == mine[0]
    assert (await rest.delete(f"/api/rejected/{mine[0]}")).status_code == 404
    assert (await rest.get(f"/api/rejected/{mine[0]}")).status_code == 404
    assert (await rest.get("/api/rejected/x")).status_code == 404


async def test_the_trace_of_a_message_is_kept(handed: Handed) -> None:
    one = key()
    await handed.over({"payload": MAIL}, {"Nats-Msg-Id": one, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    assert (await handed.task(one))["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_key_in_waggles_own_header_is_never_dropped_by_the_stream(handed: Handed) -> None:
    one = key()
    await handed.over(MAIL, {"waggle-idempotency-key": one})
    await handed.over(MAIL, {"waggle-idempotency-key": one})
    rejection = await handed.rejection({"to": "another"}, {"waggle-idempotency-key": one})
    assert rejection["errors"][0]["message"] == "was used for another request"
    assert (await handed.task(one))["payload"] == MAIL


async def test_a_rejection_that_is_not_kept_comes_again(handed: Handed, publisher: NatsClient, streams: Callable[[], Awaitable[object]]) -> None:
    """Instead of the stream, somebody answers who is no JetStream."""
    asked: list[Msg] = []

    async def answer(message: Msg) -> None:
        asked.append(message)
        await message.respond((b"", b"[]", b"{}", b'{"error": "no"}')[len(asked) % 4])

    await publisher.jetstream().delete_stream("WAGGLE_REJECTED")
    stranger = await publisher.subscribe("waggle.rejected.>", cb=answer)
    await publisher.flush()
    await handed.over(b"{", {"x-mark": "nobody keeps it"})
    await until(lambda: len(asked) >= 5, 15.0)
    await stranger.unsubscribe()
    await handed.over({"payload": MAIL}, {"Nats-Msg-Id": "beside it"})
    assert (await handed.task("beside it"))["payload"] == MAIL
    await streams()

    async def kept() -> list[Json]:
        return ok(await handed.rest.get("/api/rejected"))["items"]

    [one] = await until(kept, 15.0)
    assert ok(await handed.rest.get(f"/api/rejected/{one['id']}"))["headers"]["x-mark"] == "nobody keeps it"
