"""`@app.resource`: opened once a worker, before the first task; passed by type; closed after the last handler."""

from pathlib import Path

from support.facts import until
from support.processes import Process
from support.system import Client, Services, client_of, told

APP = "support.resource_handlers:app"


async def worker(start: Services, effects: Path, **environ: str) -> Process:
    return await start("worker", environ={"EFFECTS": str(effects), **environ}, app=APP)


async def result(client: Client, type_: str, payload: object = None) -> list[object]:
    task = await client.wait(await client.submit(type_, payload))
    assert task["status"] == "completed", task
    found: list[object] = task["result"]
    return found


async def test_they_are_opened_once_passed_by_type_and_closed_the_last_one_first(start: Services, effects: Path) -> None:
    api, _, running = await start("api"), await start("scheduler"), await worker(start, effects)
    assert effects.read_text().splitlines() == ["settings opened", "pool opened"], "before the worker is ready, and only those that a handler takes"
    async with client_of(api) as client:
        shop, first, n, is_elsewhere, attempt = await result(client, "resource.async", {"n": 5})
        assert (shop, n, is_elsewhere, attempt) == ("bees", 5, True, 1)
        assert await result(client, "resource.thread", {"other": [1]}) == ["bees", first, {"other": [1]}], "each handler gets the same one"
        assert "pool" in told(await client.post("/api/tasks", json={"type": "resource.async", "payload": {"n": 1, "pool": {}}})).popitem()[0]
        refused = await client.post("/api/tasks", json={"type": "resource.thread", "payload": {"pool": 1}})
        assert refused.status_code == 422, "a field of **rest cannot take its place"
        slow = await client.submit("resource.slow", {"seconds": 1.5})
        await until(lambda: _status(client, slow["id"], "running"))
        assert await running.stop(20.0) == 0
        assert (await client.task(slow))["result"] is True
    assert effects.read_text().splitlines()[2:] == ["slow ended, open: True", "plain closed", "pool closed", "settings closed"]
    [line] = running.logged("resource not closed")
    assert (line["level"], line["resource"], "it cannot be closed" in line["error"]) == ("error", "plain", True)


async def test_a_worker_whose_resource_cannot_be_opened_takes_no_task_and_ends(start: Services, effects: Path) -> None:
    api, _ = await start("api"), await start("scheduler")
    failing = start.launch("worker", environ={"EFFECTS": str(effects), "FAILING": "1"}, app=APP)
    assert await failing.ended() == 1
    [line] = failing.logged("resource not opened")
    assert (line["resource"], line["error"]) == ("pool", 'ConnectionRefusedError("the shop\'s database")')
    assert effects.read_text().splitlines() == ["settings opened", "pool failed", "settings closed"], "those that were open are closed"
    await worker(start, effects, FAILING="1")
    async with client_of(api) as client:
        assert (await result(client, "resource.async", {"n": 1}))[0] == "bees"


async def test_a_worker_whose_resource_ends_in_use_ends_too(start: Services, effects: Path) -> None:
    api, _, running = await start("api"), await start("scheduler"), await worker(start, effects)
    async with client_of(api) as client:
        await client.wait(await client.submit("resource.ends"))
    assert await running.ended() == 1
    assert running.logged("a resource ended while it was in use, this process ends")
    assert ["the shop's database is gone" in line["error"] for line in running.logged("resource not closed", resource="pool")] == [True]
    assert running.logged("drained")


async def _status(client: Client, task_id: str, status: str) -> bool:
    return bool((await client.task(task_id))["status"] == status)
