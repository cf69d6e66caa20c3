"""Commands of operators go from the API to a dlq service: shared by several services, refused clearly when none listens, not done after their deadline."""

import asyncio
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from support import given
from support.dlq_asked import a_retry, metric
from support.facts import until
from support.given_dead import dead
from support.servers import NatsServer, PostgresServer
from support.system import Client, Services, client_of, ok
from waggle.bus import rpc, subjects
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import CommandRefused, RefusalCode

Pool = asyncpg.Pool


async def test_a_retried_dead_letter_is_run_again_at_once(client: Client, pool: Pool) -> None:
    task = await client.wait(await client.submit("demo.fail", max_retries=0))
    assert task["status"] == "dead_letter"
    ok(await client.post(f"/api/dlq/{task['id']}/retry", json={"payload": {"message": "again"}}))

    async def died_again() -> bool:
        return len(await client.attempts(task)) == 2

    await until(died_again)
    again = await client.wait(task)
    assert (again["status"], again["attempt"], again["error"]["message"]) == ("dead_letter", 2, "DemoError: again")


async def test_without_a_dlq_service_reads_work_and_commands_are_not_done(start: Services, pool: Pool) -> None:
    api = await start("api")
    (task_id,) = await dead(pool)
    async with client_of(api) as client:
        for answer in (
            await client.post(f"/api/dlq/{task_id}/retry"),
            await client.delete(f"/api/dlq/{task_id}"),
            await client.post("/api/dlq/cleanup"),
            await client.post("/api/dlq/retry", json={"all": True}),
            await client.delete(f"/api/dlq/retries/{uuid4()}"),
        ):
            problem = ok(answer, 503)
            assert (problem["code"], answer.headers["retry-after"]) == ("service_unavailable", "2")
            assert "nothing was done" in problem["detail"]
        assert len(ok(await client.get("/api/dlq"))["items"]) == 1
        assert ok(await client.post("/api/dlq/retry", json={"all": True, "dry_run": True}))["matched"] == 1


async def test_without_nats_commands_are_not_done_and_work_again_with_it(start: Services, pool: Pool, nats: NatsServer) -> None:
    api, _ = await start("api"), await start("dlq")
    (task_id,) = await dead(pool)
    nats.kill()
    async with client_of(api) as client:
        await until(lambda: api.logged("NATS disconnected, reconnecting"))
        assert "nothing was done" in ok(await client.post(f"/api/dlq/{task_id}/retry"), 503)["detail"]
        nats.start()

        async def retried() -> bool:
            return (await client.post(f"/api/dlq/{task_id}/retry")).status_code == 200

        await until(retried, 20)


async def test_a_service_that_stands_still_leaves_the_outcome_open_and_does_not_do_it_later(start: Services, pool: Pool) -> None:
    api, dlq = await start("api"), await start("dlq")
    (task_id,) = await dead(pool)
    dlq.pause()
    async with client_of(api) as client:
        answer = await client.post(f"/api/dlq/{task_id}/retry")
        assert "the command may have been carried out" in ok(answer, 503)["detail"]
    dlq.resume()

    async def refused() -> bool:
        return await metric(dlq, 'waggle_dlq_commands_refused_total{reason="too_late"}') == 1

    await until(refused)
    assert (await given.row(pool, task_id))["status"] == "dead_letter"


async def test_several_services_share_the_work_and_each_command_is_done_once(start: Services, pool: Pool, bus: Bus) -> None:
    services = [await start("dlq") for _ in range(2)]
    ids = await dead(pool, 60)
    await asyncio.gather(*[rpc.request(bus, subjects.DLQ_RETRY, await a_retry(pool, task_id), 10) for task_id in ids])
    done = [await metric(dlq, 'waggle_dlq_retried_total{how="manual"}') for dlq in services]
    assert sum(done) == 60
    assert all(done), done
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries") == 60
    assert len(services[0].logged("dead letter retried", asked_by="anna", edited=False)) == done[0]


async def test_an_outage_of_postgres_leaves_the_outcome_open(start: Services, own_postgres: PostgresServer, pool: Pool, bus: Bus) -> None:
    await start("dlq")
    (task_id,) = await dead(pool)
    command = await a_retry(pool, task_id, seconds=60)
    own_postgres.kill()
    with pytest.raises(CommandRefused, match="may or may not") as refused:
        await rpc.request(bus, subjects.DLQ_RETRY, command, 20)
    assert refused.value.refusal is RefusalCode.UNKNOWN
    own_postgres.start()

    async def retried() -> bool:
        try:
            await rpc.request(bus, subjects.DLQ_RETRY, command, 20)
        except CommandRefused as again:
            return again.refusal is RefusalCode.NOT_FOUND
        return True

    await until(retried)
    assert (await given.row(pool, task_id))["status"] == "pending"


async def test_a_stopping_service_finishes_what_it_was_asked(start: Services, pool: Pool, bus: Bus) -> None:
    dlq = await start("dlq")
    (task_id,) = await dead(pool)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM waggle.tasks WHERE id = $1 FOR UPDATE", task_id)
        asked = asyncio.create_task(rpc.request(bus, subjects.DLQ_RETRY, await a_retry(pool, task_id), 10))
        await until(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"))
        dlq.terminate()
        await until(lambda: dlq.logged("stopping"))
    assert msgspec.json.decode(await asked)["status"] == "pending"
    assert await dlq.ended() == 0
