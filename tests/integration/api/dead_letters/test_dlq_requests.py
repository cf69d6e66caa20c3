"""Commands that reach the dlq service over the bus: repeated, unreadable, impossible, or too late for their callers."""

from datetime import timedelta
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from support.dlq_asked import a_retry, metric
from support.facts import until
from support.given_dead import dead
from support.processes import Process
from support.system import Client, ok
from waggle.bus import rpc, subjects
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import CommandRefused, RefusalCode
from waggle.nesting import LEVELS
from waggle.store import dead_letters, redrives

Pool = asyncpg.Pool


async def test_a_repeated_command_is_harmless(dlq: Process, pool: Pool, bus: Bus) -> None:
    (task_id,) = await dead(pool)
    command = await a_retry(pool, task_id)
    await rpc.request(bus, subjects.DLQ_RETRY, command, 10)
    with pytest.raises(CommandRefused, match="the task is pending") as refused:
        await rpc.request(bus, subjects.DLQ_RETRY, command, 10)
    assert refused.value.refusal is RefusalCode.NOT_FOUND
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries WHERE task_id = $1", task_id) == 1


async def test_what_cannot_be_read_or_stored_is_refused_and_the_service_goes_on(dlq: Process, pool: Pool, bus: Bus) -> None:
    (task_id,) = await dead(pool)
    for data, refusal in [
        (b"not JSON", RefusalCode.UNREADABLE),
        (b"{}", RefusalCode.UNREADABLE),
        (b"[" * (LEVELS + 1) + b"]" * (LEVELS + 1), RefusalCode.UNREADABLE),
        (await a_retry(pool, task_id, payload='{"a":' + "[" * LEVELS + "]" * LEVELS + "}"), RefusalCode.UNREADABLE),
        (await a_retry(pool, task_id, payload='{"no JSON'), RefusalCode.INVALID),
        (await a_retry(pool, task_id, seconds=-1), RefusalCode.TOO_LATE),
        (b"x" * (3 << 20) + b"x", RefusalCode.UNREADABLE),
    ]:
        with pytest.raises(CommandRefused) as refused:
            await rpc.request(bus, subjects.DLQ_RETRY, data, 10)
        assert refused.value.refusal is refusal
    await rpc.request(bus, subjects.DLQ_RETRY, await a_retry(pool, task_id), 10)
    assert not dlq.logged("request crashed")


@pytest.mark.parametrize("rate", ["1e-300", "1e308", "-1"])
async def test_a_bulk_retry_at_an_impossible_rate_is_refused_and_breaks_no_service(dlq: Process, bus: Bus, pool: Pool, rate: str) -> None:
    redrive_id = uuid4()
    until_ = (await dead_letters.now(pool) + timedelta(seconds=5)).isoformat()
    command = f'{{"asked_by": "anna", "until": "{until_}", "id": "{redrive_id}", "filter": {{}}, "rate": {rate}}}'
    with pytest.raises(CommandRefused) as refused:
        await rpc.request(bus, subjects.DLQ_REDRIVE, command.encode(), 10)
    assert refused.value.refusal is RefusalCode.UNREADABLE
    assert await redrives.get(pool, redrive_id) is None


async def test_a_time_without_its_offset_is_refused(dlq: Process, bus: Bus) -> None:
    with pytest.raises(CommandRefused) as refused:
        await rpc.request(bus, subjects.DLQ_REMOVE, b'{"asked_by": "anna", "until": "2026-11-22T00:00:00", "id": "%s"}' % str(uuid4()).encode(), 10)
    assert refused.value.refusal is RefusalCode.UNREADABLE
    assert not dlq.logged("request crashed")


async def test_a_command_whose_caller_no_longer_waits_is_not_done(dlq: Process, bus: Bus, pool: Pool) -> None:
    (task_id,) = await dead(pool)
    await bus.publish(subjects.DLQ_RETRY, await a_retry(pool, task_id))
    await bus.publish(subjects.DLQ_RETRY, b"not JSON")
    await until(lambda: dlq.logged("request without a reply subject ignored"))
    assert not dlq.logged("Task exception was never retrieved")
    assert await pool.fetchval("SELECT status FROM waggle.tasks WHERE id = $1", task_id) == "dead_letter"


async def test_its_endpoints_are_micro_services_that_can_be_listed(dlq: Process, bus: Bus) -> None:
    answer = await bus.request("$SRV.INFO.waggle-dlq")
    found = {endpoint["subject"] for endpoint in msgspec.json.decode(answer.data)["endpoints"]}
    assert found == {f"waggle.rpc.dlq.{verb}" for verb in ("retry", "remove", "cleanup", "redrive", "changing_redrive", "cancel")}


async def test_commands_are_logged_and_counted(api: Client, dlq: Process, pool: Pool, kind: str) -> None:
    names = ('waggle_dlq_retried_total{how="redrive"}', 'waggle_dlq_redrives_ended_total{state="completed"}', "waggle_dlq_removed_total")
    before = [await metric(dlq, name) for name in names]
    await dead(pool, 3, type=kind)
    redrive = ok(await api.post("/api/dlq/retry", json={"type": kind}))
    (gone,) = await dead(pool, type=kind)
    ok(await api.delete(f"/api/dlq/{gone}"))
    ok(await api.post("/api/dlq/cleanup", json={"older_than": 99 * 365 * 86_400}))
    assert dlq.logged("redrive began", redrive_id=redrive["id"], matched=3, rate=1000.0, asked_by="key:TestAdmin000")
    assert dlq.logged("redrive completed", redrive_id=redrive["id"], retried=3, asked_by="key:TestAdmin000")
    assert dlq.logged("dead letter removed", task_id=str(gone), asked_by="key:TestAdmin000")
    assert dlq.logged("dead letters cleaned up on request", cleaned=0, asked_by="key:TestAdmin000")
    assert [await metric(dlq, name) - was for name, was in zip(names, before, strict=True)] == [3, 1, 1]
