"""Cancelling tasks: final at once, sent to the worker, one winner."""

import asyncio
from typing import Any

import asyncpg
import pytest

from support import given
from support.facts import until
from support.one_api import as_id
from support.processes import Process
from support.system import Client, ok
from waggle.bus import connection, subjects

Pool = asyncpg.Pool


async def test_a_pending_task_is_cancelled_and_cancelling_again_is_fine(api: Client) -> None:
    task = await api.submit("test.work")
    first = await api.cancel(task)
    assert (first["status"], first["error"]["code"], first["error"]["retryable"]) == ("cancelled", "task_cancelled", False)
    assert await api.cancel(task) == first == await api.task(task)


async def test_the_worker_of_a_cancelled_task_is_told_to_stop_it(api: Client, process: Process, rows: Pool) -> None:
    await given.alive(rows, "told")
    [claimed] = await given.running(rows, worker_id="told")
    commands: list[subjects.ControlMessage] = []

    async def hear(message: Any) -> None:
        commands.append(subjects.read_control_message(message.data))

    async with connection.connection(process.settings, "test") as bus:
        await until(lambda: bus.connected)
        await bus.subscribe(subjects.control("told"), hear)
        await bus.flush()
        assert (await api.cancel(str(claimed.id)))["status"] == "cancelled"
        await until(lambda: commands)
    assert commands == [subjects.ControlMessage([(claimed.id, claimed.attempt)])]


@pytest.mark.parametrize("status", ["completed", "failed", "dead_letter"])
async def test_what_is_at_rest_otherwise_is_not_cancelled(api: Client, rows: Pool, status: str) -> None:
    [task_id] = await given.waiting(rows)
    await given.change(rows, task_id, f"status = '{status}', completed_at = now()")
    problem = ok(await api.delete(f"/api/tasks/{task_id}"), 409)
    assert problem["code"] == "invalid_input"
    assert status.replace("_", " ") in problem["detail"]
    assert (await api.task(str(task_id)))["status"] == status


async def test_a_cancel_and_a_claim_have_one_winner(api: Client, rows: Pool) -> None:
    await given.alive(rows, "racer")
    made = await api.submit_many([{"type": "test.work"} for _ in range(50)])

    async def claim() -> None:
        await given.tasks.claim(rows, [as_id(task) for task in made], "racer")

    answers, _ = await asyncio.gather(asyncio.gather(*(api.cancel(task) for task in made)), claim())
    assert {answer["status"] for answer in answers} == {"cancelled"}
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE worker_id = 'racer' AND status = 'running'") == 0
    ran = await rows.fetchval("SELECT count(*) FROM waggle.tasks WHERE worker_id = 'racer'")
    assert await rows.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE worker_id = 'racer' AND outcome = 'cancelled'") == ran
