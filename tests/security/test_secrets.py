"""A secret parameter of a handler: no answer, log line, error or dead letter view holds its value, and a dead letter can still be retried."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from support.system import Client, Services, client_of, ok
from waggle.store import postgres as store

CANARY = "canary-secret-value-4711"
HANDLERS = """
from typing import Annotated
from waggle import App, Reject, Secret

app = App()


@app.task("pay", max_retries=0)
async def pay(token: Annotated[str, Secret], amount: int = 1) -> dict:
    if amount < 0:
        raise Reject(f"{token} is refused", details={"token": token, token: [token]})
    if amount > 100:
        raise ValueError(f"no amount for {token!r}")
    return {"length": len(token)}


@app.task("pay.process", max_retries=0, process=True)
def pay_in_a_process(token: Annotated[str, Secret]) -> dict:
    raise ValueError(f"no process for {token}")
"""


@pytest.fixture
async def api(start: Services, folder: Path) -> Client:
    (folder / "secret_handlers.py").write_text(HANDLERS)
    process = await start("api")
    await start("scheduler")
    await start("dlq")
    await start("worker", app="secret_handlers:app", environ={"PYTHONPATH": str(folder)}, log_level="debug")
    return client_of(process)


async def test_its_value_is_nowhere_to_be_seen_and_a_retry_works_with_it(api: Client, start: Services) -> None:
    async with api:
        done = await api.wait(await api.submit("pay", {"token": CANARY, "amount": 1}))
        assert done["result"] == {"length": len(CANARY)}
        assert done["payload"] == {"token": "***", "amount": 1}
        payloads = [{"token": CANARY, "amount": -1}, {"token": CANARY, "amount": 1_000}]
        dead = [await api.wait(await api.submit("pay", payload)) for payload in payloads]
        dead.append(await api.wait(await api.submit("pay.process", {"token": CANARY})))
        assert {task["status"] for task in dead} == {"dead_letter"}
        assert dead[0]["error"]["message"] == "*** is refused"
        assert dead[0]["error"]["details"] == {"token": "***", "***": ["***"]}
        misfit = await api.post("/api/tasks", json={"type": "pay", "payload": {"token": CANARY, "amount": CANARY}})
        said = [misfit.text, json.dumps(done), json.dumps(dead)]
        for path in ("/api/tasks", "/api/dlq", "/api/dlq/groups", *(f"/api/tasks/{task['id']}/attempts" for task in dead)):
            said.append((await api.get(path)).text)
        for task in dead:
            said.append((await api.get(f"/api/dlq/{task['id']}")).text)
        assert CANARY not in "".join(said)

        # Whoever edits the payload saw only the mask.
        shown = ok(await api.get(f"/api/dlq/{dead[0]['id']}"))["payload"]
        ok(await api.post(f"/api/dlq/{dead[0]['id']}/retry", json={"payload": {**shown, "amount": 2}}))
        again = await api.wait(dead[0])
        assert (again["status"], again["result"]) == ("completed", {"length": len(CANARY)})
        replaced = ok(await api.post(f"/api/dlq/{dead[1]['id']}/retry", json={"payload": {"token": "another", "amount": 2}}))
        assert (await api.wait(replaced))["result"] == {"length": len("another")}
        async with store.pool(start.settings, "test", 1) as pool:
            deep = '{"token": ' + "[" * 5_000 + f'"{CANARY}"' + "]" * 5_000 + "}"
            await pool.execute("UPDATE waggle.tasks SET payload = $2 WHERE id = $1", UUID(done["id"]), deep)
        hidden = await api.task(done)
        assert (hidden["hidden"], "payload" in hidden) == (["payload"], False)
    logs = "".join(log.read_text() for log in start.logs.values())
    assert CANARY not in logs
    assert "task failed" in logs
