"""What handlers write through `ctx.log` is kept with their attempt, up to a number of lines and bytes."""

from support.facts import until
from support.system import Client, Json, Services, client_of, ok


async def logs(client: Client, task: Json, **params: int) -> list[Json]:
    found: list[Json] = ok(await client.get(f"/api/tasks/{task['id']}/logs", params=params))["items"]
    return found


async def done(client: Client, task_type: str, payload: Json | None = None) -> Json:
    task = ok(await client.post("/api/tasks", json={"type": task_type, "payload": payload or {}}), 201)
    found: Json = ok(await client.get(f"/api/tasks/{task['id']}", params={"wait": 20}))
    return found


async def test_lines_are_kept_wherever_the_handler_runs_up_to_the_limits(start: Services, lanes: None) -> None:
    """And a running handler is asked for its own."""
    api, few = await start("api"), await start("worker", app="support.handlers:app", attempt_log_lines=5)
    async with client_of(api) as client:
        lines = await logs(client, await done(client, "test.says", {"lines": 3, "secret": "hunter2-hunter2"}))
        assert [(line["attempt"], line["number"], line["level"], line["event"], line["fields"]["number"]) for line in lines] == [
            (1, number, "info", "said", number) for number in range(3)
        ]
        assert "hunter2" not in str(lines), "a secret of the payload is masked"
        [line] = await logs(client, await done(client, "test.says-in-thread"), attempt=1)
        assert (line["level"], line["event"], line["fields"]) == ("warning", "in a thread", {"thing": "<class 'object'>"})
        [line] = await logs(client, await done(client, "test.says-in-process"))
        assert (line["event"], line["fields"]) == ("in a process", {"where": "\x00there", "text": r"\u0000"})
        many = await logs(client, await done(client, "test.says", {"lines": 20}))
        assert [line["event"] for line in many] == ["said"] * 5 + ["15 more lines were not kept"]

        running = ok(await client.post("/api/tasks", json={"type": "test.says", "payload": {"lines": 2, "seconds": 30}}), 201)
        assert len(await until(lambda: logs(client, running), 10.0)) == 2
        few.kill()
        await start("worker", app="support.handlers:app", attempt_log_lines=0)
        assert await logs(client, await done(client, "test.says", {"lines": 20})) == []
