"""Reading tasks: one, pages of them, their timelines."""

from typing import Any
from uuid import UUID

import asyncpg

from support import given
from support.system import Client, Services, client_of, ok, told

Pool = asyncpg.Pool


async def test_what_is_not_there_is_not_found(api: Client) -> None:
    for path in ("/api/tasks/00000000-0000-7000-8000-000000000000", "/api/tasks/no-uuid", "/api/tasks/00000000-0000-7000-8000-000000000000/attempts"):
        problem = ok(await api.get(path), 404)
        assert problem["code"] == "not_found"
    assert (await api.delete("/api/tasks/00000000-0000-7000-8000-000000000000")).status_code == 404
    assert (await api.get("/api/tasks/00000000-0000-7000-8000-000000000000?wait=5")).status_code == 404


async def test_pages_hold_every_task_once_while_new_ones_come(api: Client) -> None:
    made = [task["id"] for task in await api.submit_many([{"type": "test.work", "metadata": {"set": "pages"}} for _ in range(25)])]
    seen: list[str] = []
    page: dict[str, Any] = {"next_cursor": None}
    while "next_cursor" in page:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = ok(await api.get("/api/tasks", params={"metadata": '{"set":"pages"}', "limit": 7, **cursor}))
        seen += [task["id"] for task in page["items"]]
        await api.submit("test.work", metadata={"set": "pages"})
    assert seen == made[::-1]


async def test_an_error_that_cannot_be_read_is_shown_as_text_and_hides_no_list(api: Client, rows: Pool) -> None:
    task = await api.submit("test.work", metadata={"set": "strange"})
    for error in ('"boom"', '{"code": "of_the_future", "message": "boom", "retryable": true}'):
        await rows.execute("UPDATE waggle.tasks SET status = 'failed', completed_at = now(), error = $2::jsonb WHERE id = $1", UUID(task["id"]), error)
        (found,) = ok(await api.get("/api/tasks", params={"metadata": '{"set":"strange"}'}))["items"]
        assert found["error"]["code"] == "internal_error"
        assert "boom" in found["error"]["message"]
        assert ok(await api.get(f"/api/tasks/{task['id']}"))["error"] == found["error"]


async def test_a_page_that_ends_the_list_has_no_cursor(api: Client) -> None:
    await api.submit_many([{"type": "test.work", "metadata": {"set": "exact"}} for _ in range(5)])
    assert "next_cursor" not in ok(await api.get("/api/tasks", params={"metadata": '{"set":"exact"}', "limit": 5}))
    assert "next_cursor" in ok(await api.get("/api/tasks", params={"metadata": '{"set":"exact"}', "limit": 4}))


async def test_filters_narrow_a_list(api: Client, rows: Pool) -> None:
    mark = {"metadata": {"set": "filters"}}
    first = await api.submit("test.work", priority="LOW", **mark)
    second = await api.submit("test.typed", {"to": "a"}, **mark)
    await api.cancel(second)
    third = await api.submit("test.thread", **mark)
    every = {"metadata": '{"set":"filters"}'}

    async def ids(**filters: object) -> list[str]:
        return [task["id"] for task in await api.tasks(**every, **filters)]

    assert await ids() == [third["id"], second["id"], first["id"]]
    assert await ids(status="cancelled") == [second["id"]]
    assert await ids(status="cancelled,completed,pending") == await ids()
    assert await ids(type=["test.work", "test.thread"]) == await ids(type="test.work, test.thread") == [third["id"], first["id"]]
    assert await ids(queue="typed") == [second["id"]]
    assert await ids(priority="low") == await ids(priority=0) == [first["id"]]
    assert await ids(created_from=second["created"], created_to=third["created"]) == [second["id"]]
    assert await ids(created_to=first["created"]) == []


async def test_a_list_has_no_payloads_and_invalid_parameters_are_reported_at_once(api: Client) -> None:
    assert not [task for task in await api.tasks(limit=1000) if "payload" in task]
    found = told(await api.get("/api/tasks?limit=0&stauts=x&cursor=%00&status=done&queue=a&queue=b&created_from=now&metadata=%7B"))
    assert found.keys() == {"limit", "stauts", "cursor", "status", "queue", "created_from", "metadata"}
    assert found["stauts"] == "is not a parameter of this address; did you mean status?"
    assert told(await api.get("/api/queues?x=1")).keys() == {"x"}
    assert told(await api.post("/api/tasks?wait=1", json={"type": "test.work"})).keys() == {"wait"}


async def test_the_timeline_shows_ended_attempts(api: Client, rows: Pool) -> None:
    await given.alive(rows, "timeline")
    [claimed] = await given.running(rows, worker_id="timeline")
    assert await api.attempts(str(claimed.id)) == []
    await api.cancel(str(claimed.id))
    [attempt] = await api.attempts(str(claimed.id))
    assert (attempt["attempt"], attempt["worker_id"], attempt["outcome"], attempt["error"]["code"]) == (1, "timeline", "cancelled", "task_cancelled")


async def test_times_at_the_edges_of_the_calendar_are_no_bounds(api: Client) -> None:
    task = await api.submit("test.work", metadata={"set": "edges"})
    found = await api.tasks(metadata='{"set":"edges"}', created_from="0001-01-01T00:00:00Z", created_to="9999-12-31T23:59:59Z")
    assert [one["id"] for one in found] == [task["id"]]


async def test_a_wrong_clock_of_the_api_hides_no_task_from_a_list_by_time(start: Services, pool: Pool) -> None:
    """All times are the database's, here an hour ahead of this machine's clock."""
    await pool.execute("CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT pg_catalog.now() + interval '1 hour' $$")
    await pool.execute("ALTER TABLE waggle.tasks ALTER COLUMN created SET DEFAULT public.now()")
    await pool.execute(f'ALTER ROLE CURRENT_USER IN DATABASE "{await pool.fetchval("SELECT current_database()")}" SET search_path = public, pg_catalog')
    async with client_of(await start("api", unknown_types="accept")) as api:
        task = await api.submit("any.thing")
        assert [found["id"] for found in await api.tasks(created_from=task["created"])] == [task["id"]]
        assert await api.tasks(created_to=task["created"]) == []
