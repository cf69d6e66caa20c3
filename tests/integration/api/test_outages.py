"""What the API promises while a server is away, while it starts, and while it stops."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import httpx2
import pytest

from support import given
from support.facts import until
from support.keys import ADMIN_KEY
from support.one_api import announce
from support.processes import START_SECONDS, Process, ready
from support.servers import NatsServer, PostgresServer
from support.system import Client, Services, bearer, client_of, ok
from waggle.store import postgres as store
from waggle_embedded.placement import free_port

WORK = {"type": "test.work"}
API = "application_name = 'waggle-api' AND datname = current_database()"


@pytest.fixture
async def types(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await announce(pool)


@asynccontextmanager
async def load(api: Process, submitted: list[UUID], answers: list[int], clients: int = 10) -> AsyncIterator[None]:
    """Clients that submit one task after another; what was accepted is in `submitted`, every status in `answers`."""
    stopped = asyncio.Event()

    async def submit(client: Client) -> None:
        while not stopped.is_set():
            try:
                answer = await client.post("/api/tasks", json=WORK)
            except httpx2.TransportError:  # the API has stopped
                return
            answers.append(answer.status_code)
            if answer.status_code == 201:
                submitted.append(UUID(answer.json()["id"]))

    async with client_of(api) as client, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(submit(client))
        try:
            yield
        finally:
            stopped.set()


async def all_there(pool: "asyncpg.Pool[asyncpg.Record]", submitted: list[UUID]) -> bool:
    return bool(await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE id = ANY ($1)", submitted) == len(submitted) == len(set(submitted)))


async def test_slow_reads_do_not_keep_submissions_out(start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    process = await start("api")
    async with client_of(process) as api, pool.acquire() as other:
        await api.submit("test.work")
        async with other.transaction():
            await other.execute("LOCK TABLE waggle.workers IN ACCESS EXCLUSIVE MODE")
            reads = [asyncio.create_task(api.get("/api/workers")) for _ in range(40)]
            await until(lambda: pool.fetchval(f"SELECT count(*) >= 5 FROM pg_stat_activity WHERE {API} AND wait_event_type = 'Lock'"))
            async with asyncio.timeout(3):
                for body in (WORK, {**WORK, "unique_key": "a"}):
                    ok(await api.post("/api/tasks", json=body), 201)
        assert {answer.status_code for answer in await asyncio.gather(*reads)} <= {200, 503}


async def test_without_postgres_nothing_is_accepted_and_the_caller_learns_when_to_retry(
    own_postgres: PostgresServer, start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    process = await start("api")
    async with client_of(process) as api:
        task = await api.submit("test.work")
        own_postgres.kill()
        refused = await asyncio.gather(
            api.post("/api/tasks", json=WORK), api.post("/api/tasks", json={**WORK, "unique_key": "a"}), api.get(f"/api/tasks/{task['id']}")
        )
        for answer in refused:
            problem = ok(answer, 503)
            assert (problem["code"], problem["retryable"], answer.headers["retry-after"]) == ("service_unavailable", True, "2")
        assert refused[2].json()["detail"] == "the database does not answer"
        assert "it has changed nothing" in refused[2].json()["alternativeAction"]
        assert "look whether the task is there" in refused[0].json()["alternativeAction"]
        keyed = await api.post("/api/tasks", json=WORK, headers={"idempotency-key": "k"})
        assert "repeat with the same Idempotency-Key" in keyed.json()["alternativeAction"]
        health = ok(await api.get("/health"), 503)
        assert (health["status"], health["checks"]["db"], health["checks"]["nats"]) == ("unavailable", {"status": "unavailable"}, {"status": "ok"})
        assert [(await api.get(path)).status_code for path in ("/health/db", "/readyz", "/livez", "/health/nats", "/metrics")] == [503, 503, 200, 200, 200]
        own_postgres.start()

        async def recovered() -> bool:
            return (await api.get("/readyz")).status_code == 200

        await until(recovered)
        await api.submit("test.work")
        assert await pool.fetchval("SELECT count(*) FROM waggle.tasks") == 2
    assert process.logged("outage, waiting", loop="catalogue")


async def test_a_restart_of_postgres_under_load_loses_nothing_that_was_accepted(
    own_postgres: PostgresServer, start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    process = await start("api")
    submitted: list[UUID] = []
    answers: list[int] = []
    async with load(process, submitted, answers):
        await until(lambda: len(submitted) > 100)
        own_postgres.restart()
        before = len(submitted)
        await until(lambda: len(submitted) > before + 100)
    assert set(answers) <= {201, 503}
    assert await all_there(pool, submitted)


async def test_an_insert_whose_answer_was_lost_is_repeated_and_not_doubled(start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    async with client_of(await start("api")) as api:
        await api.submit("test.work")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE waggle.tasks IN SHARE MODE")
            sent = asyncio.create_task(api.post("/api/tasks", json={**WORK, "description": "once"}, headers={"idempotency-key": "once"}))
            await until(lambda: _waits_for_lock(pool))
            # its statement is interrupted while it waits: for the API the outcome is unknown
            await pool.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {API}")
        answer = await sent
        task = ok(answer, 201)
        assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE description = 'once'") == 1
        assert ok(await api.post("/api/tasks", json={**WORK, "description": "once"}, headers={"idempotency-key": "once"}))["id"] == task["id"]


async def _waits_for_lock(pool: "asyncpg.Pool[asyncpg.Record]") -> bool:
    return bool(await pool.fetchval(f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {API} AND wait_event_type = 'Lock')"))


async def test_without_nats_tasks_are_accepted_and_left_for_the_scheduler_to_ring(
    nats: NatsServer, start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    nats.kill()
    async with client_of(await start("api")) as api:
        task = await api.submit("test.work")
        assert (await given.row(pool, UUID(task["id"])))["rung_at"] is None
        health = ok(await api.get("/health"))
        assert (health["status"], health["checks"]["nats"]["status"]) == ("degraded", "unavailable")
        assert [(await api.get(path)).status_code for path in ("/health/nats", "/health/redis", "/health/db", "/readyz")] == [503, 503, 200, 200]
        assert (await api.cancel(task))["status"] == "cancelled"
        nats.start()

        async def well() -> bool:
            return (await api.get("/health")).json()["status"] == "ok"

        await until(well)
        assert (await given.row(pool, UUID((await api.submit("test.work"))["id"])))["rung_at"] is not None


async def test_the_api_can_start_before_postgres(own_postgres: PostgresServer, start: Services, types: None) -> None:
    own_postgres.kill()
    process = start.launch("api", api_port=free_port())
    async with Client(base_url=f"http://127.0.0.1:{process.settings.api_port}", headers=bearer(ADMIN_KEY), trust_env=False) as api:

        async def listens() -> bool:
            try:
                return (await api.get("/livez")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(listens, START_SECONDS)  # Python starts first
        assert (await api.get("/readyz")).status_code == 503
        answer = await api.post("/api/tasks", json=WORK)
        assert (ok(answer, 503)["detail"], answer.headers["retry-after"]) == ("the API is starting", "2")
        assert not process.ready()
        own_postgres.start()
        await ready(process)
        assert (await api.get("/readyz")).status_code == 200
        await api.submit("test.work")


async def test_unknown_types_are_accepted_where_producers_deploy_first(start: Services, types: None) -> None:
    async with client_of(await start("api", unknown_types="accept")) as api:
        task = await api.submit("not.there.yet", {"anything": 1})
        assert (task["queue"], task["max_retries"], task["timeout"]) == ("default", 3, 300.0)
        assert (await api.submit("not.there.yet", queue="typed"))["queue"] == "typed"
        for wrong in ({"type": "Not A Type"}, {"type": "not.there.yet", "queue": "nowhere"}):
            assert (await api.post("/api/tasks", json=wrong)).status_code == 422
        assert 'waggle_tasks_submitted_total{queue="default",type="other"} 1.0' in (await api.get("/metrics")).text


async def test_a_stop_finishes_what_was_accepted(start: Services, types: None, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    process = await start("api")
    submitted: list[UUID] = []
    answers: list[int] = []
    async with load(process, submitted, answers, clients=30):
        await until(lambda: len(submitted) > 200)
        assert await process.stop() == 0
    assert set(answers) == {201}
    assert await all_there(pool, submitted)
    assert not process.ready_file.exists()
    assert process.logged("stopping")
    assert process.lines()[-1]["event"] == "stopped"


async def test_a_stop_ends_waits_with_the_task_as_it_is(start: Services, types: None) -> None:
    process = await start("api", grace=20.0)
    async with client_of(process) as api:
        task = await api.submit("test.work")
        waiting = asyncio.create_task(api.get(f"/api/tasks/{task['id']}?wait=60"))

        async def waits() -> bool:
            return "waggle_http_waiting 1.0" in (await api.get("/metrics")).text

        await until(waits)
        process.terminate()
        async with asyncio.timeout(5):
            assert ok(await waiting)["status"] == "pending"
            assert await process.ended() == 0


async def test_a_stop_before_postgres_is_there_is_a_stop(start: Services) -> None:
    process = start.launch("api", postgres_url=f"postgresql://waggle@127.0.0.1:{free_port()}/waggle")
    await until(lambda: process.logged("waiting for Postgres"), START_SECONDS)
    process.terminate()
    assert await process.ended() == 0


async def test_a_postgres_that_hangs_is_noticed_within_a_second_and_waited_for(own_postgres: PostgresServer, start: Services, types: None) -> None:
    async with client_of(await start("api")) as api, store.pool(start.settings, "test", 1) as pool:
        await api.submit("test.work")
        await api.get("/readyz")
        backends = [row["pid"] for row in await pool.fetch("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'waggle-api%'")]
        own_postgres.pause()
        for backend in backends:
            os.kill(backend, signal.SIGSTOP)
        try:
            sent = asyncio.create_task(api.post("/api/tasks", json=WORK))

            async def unready() -> bool:
                return (await api.get("/readyz")).status_code == 503

            await until(unready, 5.0)
            assert not sent.done()
        finally:
            for backend in backends:
                os.kill(backend, signal.SIGCONT)
            own_postgres.resume()
        assert (await sent).status_code == 201
