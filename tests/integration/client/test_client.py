"""What a program does with the client, in both of its faces, against a running system."""

import asyncio
import gc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.client_handlers import Invoice, add, app, count, invoice, refuse, take_all, wait
from support.facts import until
from support.keys import ADMIN_KEY
from support.one_system import OneSystem
from support.system import client_for, ok
from waggle import Client, Priority, Status, SyncClient, WaggleError, new_task
from waggle.client import errors

from .conftest import listed

DUE = date(2026, 12, 24)


async def test_a_result_has_the_type_that_its_handler_returns(client: Any) -> None:
    handle = await client.submit(invoice.prepare(4711, due=DUE, total=Decimal("19.99")))
    assert await handle.result(60) == Invoice(4711, DUE, Decimal("19.99"))
    task = await handle.task()
    assert (task.type, task.status, task.payload) == ("shop.invoice", Status.COMPLETED, {"number": 4711, "due": "2026-12-24", "total": 19.99})
    assert await handle.status() == "completed"


async def test_a_task_by_name_has_the_result_as_json_has_it(client: Any) -> None:
    handle = await client.enqueue("shop.invoice", {"number": 1, "due": DUE})
    assert await handle.result(60) == {"number": 1, "due": "2026-12-24", "total": "0.10"}


async def test_further_fields_are_fields_of_the_payload(client: Any) -> None:
    handle = await client.submit(take_all.prepare(a=1, b=2))
    assert await handle.result(60) == 3


async def test_a_failure_is_the_error_of_the_task(client: Any) -> None:
    handle = await client.submit(refuse.prepare("no such customer"))
    with pytest.raises(errors.TaskFailedError, match=r"\(shop.refuse\) is dead_letter: no such customer") as caught:
        await handle.result(60)
    assert caught.value.task.status == Status.DEAD_LETTER
    assert caught.value.error
    assert (caught.value.error.code, caught.value.error.retryable) == ("task_execution_failed", False)
    found = await listed(client.dead_letters(type=["shop.refuse"], text="no such customer"))
    assert handle.id in [task.id for task in found]


async def test_a_dead_letter_runs_again_with_another_payload(client: Any) -> None:
    handle = await client.submit(refuse.prepare("once"))
    with pytest.raises(errors.TaskFailedError):
        await handle.result(60)
    assert (await client.retry(handle.id, {"why": "twice"})).status == "pending"
    with pytest.raises(errors.TaskFailedError, match="twice"):
        await handle.result(60)


async def test_a_wait_ends_in_time_and_the_task_goes_on(client: Any) -> None:
    handle = await client.submit(wait.prepare(2.0))
    with pytest.raises(errors.TaskTimeoutError, match=r"after 0.2 s"):
        await handle.result(0.2)
    assert await handle.result(60) == "waited"


async def test_options_go_with_the_task(client: Any) -> None:
    deadline = datetime.now(UTC) + timedelta(hours=1)
    options = {"delay": timedelta(minutes=5), "deadline": deadline, "priority": "high", "max_retries": 7, "timeout": 12.5}
    named = {"unique_key": uuid4().hex, "description": "for the test", "metadata": {"order": 4711}}
    task = await (await client.submit(add.options(**options, **named).prepare(1))).task()
    assert (task.priority, task.max_retries, task.timeout, task.deadline) == (Priority.HIGH, 7, 12.5, deadline)
    assert (task.description, task.metadata, task.unique_key) == ("for the test", {"order": 4711}, named["unique_key"])
    assert timedelta(minutes=4) < task.run_at - task.created < timedelta(minutes=6)
    assert (await client.cancel(task.id)).status == Status.CANCELLED


async def test_an_idempotency_key_of_ones_own_makes_one_task(client: Any) -> None:
    task = add.options(idempotency_key=uuid4().hex).prepare(1)
    first, second = await client.submit(task), await client.submit(task)
    assert first.id == second.id


async def test_a_task_that_was_prepared_once_can_be_submitted_often(client: Any) -> None:
    task = add.prepare(1)
    handles = [await client.submit(task), await client.submit(task), *await client.submit_many([task, task])]
    assert len({handle.id for handle in handles}) == 4


async def test_many_come_in_their_order_and_lists_have_no_pages(client: Any) -> None:
    mark = uuid4().hex
    handles = await client.submit_many(add.options(metadata={"mark": mark}).prepare(number, b=0) for number in range(1_203))
    assert await handles[0].result(60) == 0
    assert await handles[-1].result(60) == 1_202
    found = await listed(client.tasks(metadata={"mark": mark}))
    assert {task.id for task in found} == {handle.id for handle in handles}
    assert await client.submit_many([]) == []


async def test_what_is_refused_in_a_later_request_leaves_the_earlier_ones(client: Any) -> None:
    mark = uuid4().hex
    marked = {"metadata": {"mark": mark}, "delay": 300}
    tasks = [*(new_task("shop.add", {"a": 1}, **marked) for _ in range(1_000)), new_task("shop.add", {"a": "one"}, **marked)]
    with pytest.raises(errors.InvalidTaskError) as caught:
        await client.submit_many(tasks)
    assert caught.value.errors == [("tasks[0].payload.a", "expected an integer")] or caught.value.errors[0][0] == "tasks[0].payload.a"
    assert len(await listed(client.tasks(metadata={"mark": mark}))) == 1_000


async def test_a_cancelled_task_has_no_result(client: Any) -> None:
    handle = await client.submit(wait.prepare(60.0))
    await until(lambda: _status(handle, "running"))
    assert (await handle.cancel()).status == Status.CANCELLED
    with pytest.raises(errors.TaskFailedError, match="is cancelled"):
        await handle.result(60)
    done = await client.submit(add.prepare(1))
    await done.result(60)
    with pytest.raises(errors.ConflictError):
        await done.cancel()


async def _status(handle: Any, status: str) -> bool:
    return bool(await handle.status() == status)


async def test_errors_say_what_is_wrong(client: Any) -> None:
    with pytest.raises(errors.InvalidTaskError) as caught:
        await client.enqueue("shop.ad", {"a": 1}, max_retries=-1)
    assert {field for field, _ in caught.value.errors} == {"type", "max_retries"}
    assert (caught.value.status, caught.value.code, caught.value.requires_user_input) == (422, "validation_error", True)
    assert caught.value.request_id
    with pytest.raises(errors.TaskNotFoundError):
        await client.task(UUID(int=7))
    with pytest.raises(ValueError, match="needs a time zone"):
        await client.enqueue("shop.add", {"a": 1}, run_at=datetime(2030, 1, 1))  # noqa: DTZ001  # that is the mistake
    with pytest.raises(TypeError):
        await client.enqueue("shop.add", {"a": object()})


async def test_operators_see_queues_types_and_why(client: Any) -> None:
    handle = await client.submit(add.options(delay=300).prepare(1))
    assert (await client.explain(handle.id))["reasons"][0]["code"]
    assert "default" in [queue["name"] for queue in await client.queues()]
    assert "shop.add" in [found["name"] for found in await client.types()]
    assert (await client.pause("default"))["paused"]
    assert not (await client.resume("default"))["paused"]
    assert next(event["event"] for event in await listed(client.timeline(handle.id))) == "submitted"
    logged = await client.submit(invoice.prepare(1, DUE))
    await logged.result(60)
    assert [line["event"] for line in await listed(client.logs(logged.id))] == ["invoice written"]


async def test_an_app_submits_by_its_client(system: OneSystem) -> None:
    async with Client(system.api.api_url, ADMIN_KEY) as client:
        app._client = client
        try:
            assert await (await add.enqueue(1, b=2)).result(60) == 3
            many = await add.enqueue_many(add.prepare(number) for number in range(3))
            assert [await handle.result(60) for handle in many] == [1, 2, 3]
            assert (await (await add.options(priority="low").enqueue(1)).task()).priority == Priority.LOW
        finally:
            app._client = None


async def test_a_key_that_is_wrong_or_may_not_do_this(system: OneSystem) -> None:
    async with Client(system.api.api_url, "wgl_wrong") as client:
        with pytest.raises(errors.UnauthorizedError):
            await client.enqueue("shop.add", {"a": 1})
    async with Client(system.api.api_url, "") as nobody:
        with pytest.raises(errors.UnauthorizedError):
            await nobody.queues()
    with pytest.raises(WaggleError, match="printable ASCII"):
        Client(system.api.api_url, "two\r\nlines")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that a loop left open at its end
def test_one_client_serves_one_event_loop_after_another(system: OneSystem) -> None:
    client = Client(system.api.api_url, ADMIN_KEY)

    async def once(client: Client) -> int:
        return int(await (await client.submit(add.prepare(1))).result(60))

    assert [asyncio.run(once(client)) for _ in range(3)] == [2, 2, 2]
    del client
    gc.collect()


async def test_results_that_are_waited_for_leave_room_for_others(system: OneSystem) -> None:
    async with Client(system.api.api_url, ADMIN_KEY, connections=1) as client:
        slow = await client.submit(wait.prepare(3.0))
        waiting = asyncio.create_task(slow.result(60))
        await asyncio.sleep(0.2)
        assert await slow.status() in ("pending", "running")
        assert not waiting.done()
        assert await waiting == "waited"


async def test_a_result_that_the_key_may_not_see_is_an_error(system: OneSystem) -> None:
    async with client_for({"api_url": system.api.api_url, "api_key": ADMIN_KEY}) as api:
        limited = ok(await api.post("/api/auth/keys", json={"comment": "a test", "scopes": ["tasks:read", "tasks:write"]}), 201)["key"]
    async with Client(system.api.api_url, limited) as client:
        handle = await client.submit(add.prepare(1))
        with pytest.raises(errors.ResultError, match="payloads:read"):
            await handle.result(60)


def test_one_client_serves_many_threads(system: OneSystem) -> None:
    with SyncClient(system.api.api_url, ADMIN_KEY, connections=4) as client:

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(asyncio.to_thread(client.submit, add.prepare(number)) for number in range(200)))

        handles = asyncio.run(all_at_once())
        assert len({handle.id for handle in handles}) == 200


async def test_what_a_handler_emits_comes_until_its_end(client: Any) -> None:
    handle = await client.submit(count.prepare(5))
    assert await listed(handle.emitted()) == [{"number": number} for number in range(5)]


async def test_the_events_of_a_task_come_until_its_end(client: Any) -> None:
    handle = await client.submit(wait.prepare(1.5))
    found = [event["event"] for event in await listed(handle.events())]
    lasting = [event for event in found if event not in ("due", "rung")]  # those two are gone when it has started
    assert lasting == ["submitted", "started", "ended"]
    assert [event["event"] for event in await listed(handle.events())] == lasting


async def test_events_say_what_happens_to_tasks(system: OneSystem) -> None:
    async with Client(system.api.api_url, ADMIN_KEY) as client:
        seen: list[Any] = []

        async def listen() -> None:
            async for event in client.events(status=["completed"], type=["shop.add"]):
                seen.append(event)

        listening = asyncio.create_task(listen())
        ids: list[str] = []

        async def heard() -> bool:
            handle = await client.submit(add.prepare(1))
            ids.append(str(handle.id))
            await handle.result(60)
            return bool({event.data["id"] for event in seen} & set(ids))

        await until(heard)
        assert {event.data["status"] for event in seen} == {"completed"}
        listening.cancel()
        await asyncio.wait([listening])
        assert [event async for event in _first(client.events(after=seen[0].id))]


async def _first(events: Any) -> Any:
    async for event in events:
        yield event
        return
