"""What happens to tasks: as server-sent events, which are hints, and by `updated_after`, which misses nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from support.facts import until
from support.processes import Process
from support.system import Client, Json, client_of, ok, told


class Heard:
    """The events that came so far, with their ids."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.ids: list[str] = []
        self.ended = False

    def statuses(self, task: Json) -> list[str]:
        return [event["status"] for event in self.events if event["id"] == task["id"]]


@asynccontextmanager
async def listening(client: Client, last: str = "", **filters: object) -> AsyncIterator[Heard]:
    heard = Heard()

    async def read() -> None:
        async with client.stream("GET", "/api/events", params=filters, headers={"last-event-id": last} if last else {}, timeout=60) as answer:  # type: ignore[arg-type]
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            started.set()
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    heard.ids.append(line[4:])
                if line.startswith("data: "):
                    heard.events.append(json.loads(line[6:]))
            heard.ended = True

    started = asyncio.Event()
    reading = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 10)
    try:
        yield heard
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def test_changes_are_heard_in_their_order_and_filtered(rest: Client) -> None:
    async with listening(rest) as all_, listening(rest, status="cancelled", type="door.mail") as some, listening(rest, queue="default") as others:
        mail, plain = await rest.submit("door.mail", {"to": "you"}), await rest.submit("door.plain")
        await rest.cancel(mail)
        await rest.cancel(plain)
        await until(lambda: len(all_.statuses(mail) + all_.statuses(plain)) == 4)
        assert all_.statuses(mail) == all_.statuses(plain) == ["pending", "cancelled"]
        await until(lambda: some.events and len(others.statuses(plain)) == 2)
        assert [event["id"] for event in some.events if event["type"] == "door.mail"] == [event["id"] for event in some.events]
        assert some.statuses(mail) == ["cancelled"]
        assert others.statuses(mail) == []
        [last] = [event for event in some.events if event["id"] == mail["id"]]
        assert (last["queue"], last["attempt"], last["error_code"]) == ("mail", 0, "task_cancelled")


async def test_who_was_cut_off_goes_on_after_the_last_event(rest: Client) -> None:
    async with listening(rest) as first:
        one = await rest.submit("door.plain")
        await until(lambda: first.statuses(one))
    place = first.ids[[event["id"] for event in first.events].index(one["id"])]
    missed = [await rest.submit("door.plain") for _ in range(3)]
    async with listening(rest, place) as again, listening(rest, after=int(place)) as asked:
        await until(lambda: all(again.statuses(task) and asked.statuses(task) for task in missed))
        assert one["id"] not in [event["id"] for event in again.events]
        assert [int(number) for number in again.ids] == sorted(int(number) for number in again.ids)
    for wrong in ("x", "-1", "9007199254740992"):
        assert told(await rest.get("/api/events", headers={"last-event-id": wrong}))["Last-Event-ID"] == "is not the id of an event of this list"


async def test_who_listens_goes_on_when_nats_lost_its_store(rest: Client, publisher: NatsClient, streams: Callable[[], Awaitable[object]]) -> None:
    """Then the numbers start over, below the place of all that listen."""
    async with listening(rest) as heard, listening(rest, "9007199254740991") as later:
        one = await rest.submit("door.plain")
        await until(lambda: heard.statuses(one) and later.statuses(one))
        await publisher.jetstream().delete_stream("WAGGLE_EVENTS")
        await streams()
        two = await rest.submit("door.plain")
        await until(lambda: heard.statuses(two) and later.statuses(two))
        assert heard.statuses(one) == heard.statuses(two) == ["pending"]
        assert int(heard.ids[-1]) < int(heard.ids[0])


async def test_a_key_hears_only_what_it_may_see_until_it_is_revoked(rest: Client, doors: Process) -> None:
    made = ok(await rest.post("/api/auth/keys", json={"comment": "ear", "scopes": ["tasks:read"], "queues": ["mail"]}), 201)
    async with client_of(doors, made["key"]) as limited, listening(limited) as heard, listening(rest) as all_:
        mail, plain = await rest.submit("door.mail", {"to": "you"}), await rest.submit("door.plain")
        await until(lambda: all_.statuses(plain) and all_.statuses(mail) and heard.statuses(mail))
        assert {event["queue"] for event in heard.events} == {"mail"}
        ok(await rest.delete(f"/api/auth/keys/{made['id']}"))
        await until(lambda: heard.ended, 12.0)


async def test_the_same_is_on_nats_and_in_the_subject(rest: Client, publisher: NatsClient) -> None:
    heard: list[tuple[str, Json]] = []

    async def hear(message: object) -> None:
        heard.append((message.subject, json.loads(message.data)))  # type: ignore[attr-defined]

    await publisher.subscribe("waggle.event.cancelled.>", cb=hear)
    await publisher.flush()
    task = await rest.cancel(await rest.submit("door.plain"))
    [(subject, event)] = await until(lambda: [one for one in heard if one[1]["id"] == task["id"]])
    assert subject == f"waggle.event.cancelled.{task['id']}.door.plain"
    assert (event["status"], event["type"]) == ("cancelled", "door.plain")


async def test_updated_after_lists_what_came_to_rest_once_in_order_page_by_page(rest: Client, sql: asyncpg.Connection) -> None:
    before = await sql.fetchval("SELECT now()")
    ended = {task["id"] for task in await rest.submit_many([{"type": "door.mail", "payload": {"to": "you"}}] * 25)}
    ok(await rest.post("/api/queues/mail/purge", json={}))  # many at the same instant
    await rest.submit("door.mail", {"to": "you"})
    page = ok(await rest.get("/api/tasks", params={"updated_after": before.isoformat(), "limit": 7, "type": "door.mail"}))
    found = list(page["items"])
    while not page.get("caught_up"):
        page = ok(await rest.get("/api/tasks", params={"cursor": page["next_cursor"], "limit": 7, "type": "door.mail"}))
        found += page["items"]
    mine = [task for task in found if task["id"] in ended]
    assert len(mine) == len({task["id"] for task in mine}) == 25
    assert [(task["updated"], task["id"]) for task in found] == sorted((task["updated"], task["id"]) for task in found)
    assert all(task["status"] == "cancelled" and "payload" not in task for task in found)
    later = await rest.cancel(await rest.submit("door.mail", {"to": "you"}))
    again = ok(await rest.get("/api/tasks", params={"cursor": page["next_cursor"], "limit": 1000}))
    assert later["id"] in {task["id"] for task in again["items"]}


@pytest.mark.parametrize("filters", [{"status": "running"}, {"metadata": "{}"}, {"created_from": "2026-01-01T00:00:00Z"}, {"updated_after": "yesterday"}])
async def test_updated_after_says_what_it_does_not_do(rest: Client, filters: dict[str, str]) -> None:
    assert set(told(await rest.get("/api/tasks", params={"updated_after": "2026-01-01T00:00:00Z", **filters}))) == set(filters)
