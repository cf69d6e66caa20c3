"""Whether everything works: what a system of all services is asked for in a minute."""

from support.system import Client


async def everything_works(client: Client) -> None:
    """Submit, run, settle, schedule, cancel, list, pause, dead letters and their retries."""
    done = await submit(client, type="demo.echo", payload={"n": 1})
    late = await submit(client, type="demo.echo", payload={"n": 1}, delay=0.5)
    far = await submit(client, type="demo.echo", payload={"n": 1}, delay=3600)
    bad = await submit(client, type="demo.fail", payload={"message": "no", "retryable": False})
    for task_id, status in ((done, "completed"), (late, "completed"), (bad, "dead_letter")):
        answer = (await client.get(f"/api/tasks/{task_id}", params={"wait": 20})).raise_for_status().json()
        assert answer["status"] == status
    assert (await client.delete(f"/api/tasks/{far}")).json()["status"] == "cancelled"
    assert {task["id"] for task in (await client.get("/api/tasks")).json()["items"]} == {done, late, far, bad}
    assert [task["id"] for task in (await client.get("/api/dlq")).json()["items"]] == [bad]
    (await client.post(f"/api/dlq/{bad}/retry")).raise_for_status()
    assert (await client.get("/api/queues/default/stats")).raise_for_status().json()
    for verb in ("pause", "resume"):
        (await client.post(f"/api/queues/default/{verb}")).raise_for_status()
    assert (await client.get("/api/workers")).raise_for_status().json()["items"]


async def submit(client: Client, **task: object) -> str:
    """The id of a new task."""
    answer = await client.post("/api/tasks", json=task)
    assert answer.status_code == 201, answer.text
    task_id: str = answer.json()["id"]
    return task_id
