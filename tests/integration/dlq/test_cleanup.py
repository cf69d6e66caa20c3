"""The dead letter queue keeps its retention period and maximum size; removed dead letters become failed, oldest first."""

import asyncio
from uuid import UUID

import asyncpg
import httpx2
import msgspec
import pytest
import structlog.testing

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.given_dead import nobody
from support.loops import loop
from support.processes import Process
from support.servers import PostgresServer
from support.system import Services
from waggle.bus.dlq_commands import Cleaned
from waggle_dlq import cleanup

Pool = asyncpg.Pool

SEED = ("dlq_size", "dlq_tasks_cleaned", "dlq_tasks_remaining", "dlq_cleanup_duration", "dlq_cleanup_success", "dlq_cleanup_failure")


async def dead(pool: Pool, count: int, ago: str = "1 minute") -> list[UUID]:
    ids = await given.waiting(pool, count)
    await given.change(pool, ids, f"status = 'dead_letter', updated = now() - interval '{ago}'")
    return ids


async def statuses(pool: Pool) -> dict[str, int]:
    return {row[0]: row[1] for row in await pool.fetch("SELECT status, count(*) FROM waggle.tasks GROUP BY status")}


async def metrics(dlq: Process) -> str:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.get(dlq.metrics_url)).text


async def test_dead_letters_past_their_period_become_failed(pool: Pool) -> None:
    await dead(pool, 30, "3 hours")
    await dead(pool, 10)
    with structlog.testing.capture_logs() as lines:
        assert await cleanup.clean(pool, nobody, 3600.0, 100) == Cleaned(30, 10)
    (line,) = lines
    assert (line["event"], line["old"], line["excess"], line["remaining"]) == ("dead letters removed by cleanup", 30, 0, 10)
    assert await statuses(pool) == {"failed": 30, "dead_letter": 10}


async def test_dead_letters_over_the_maximum_become_failed(pool: Pool) -> None:
    await dead(pool, 30)
    assert await cleanup.clean(pool, nobody, 3600.0, 12) == Cleaned(18, 12)
    assert await statuses(pool) == {"failed": 18, "dead_letter": 12}


async def test_a_cleanup_that_moves_nothing_says_nothing(pool: Pool) -> None:
    await dead(pool, 3)
    with structlog.testing.capture_logs() as lines:
        assert await cleanup.clean(pool, nobody, 3600.0, 3) == Cleaned(0, 3)
    assert lines == []


async def test_it_cleans_again_and_again(pool: Pool, settings: FleetSettings) -> None:
    often = msgspec.structs.replace(settings, dlq_max_size=5, dlq_cleanup_interval=0.05)
    async with loop(cleanup.keep_clean(pool, nobody, often, asyncio.Event())):
        for _ in range(3):
            await dead(pool, 10)
            await until(lambda: pool.fetchval("SELECT count(*) = 5 FROM waggle.tasks WHERE status = 'dead_letter'"))


async def test_several_services_at_once_bury_no_more_than_the_excess(pool: Pool) -> None:
    await dead(pool, 3000)
    cleaned = await asyncio.gather(*(cleanup.clean(pool, nobody, 3600.0, 500) for _ in range(4)))
    cleaned += [await cleanup.clean(pool, nobody, 3600.0, 500)]
    assert sum([each.cleaned for each in cleaned]) == 2500
    assert await statuses(pool) == {"failed": 2500, "dead_letter": 500}


async def test_batch_after_batch_until_nothing_is_left(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "CLEANUP_BATCH", 7)
    await dead(pool, 50, "3 hours")
    await dead(pool, 20)
    assert (await cleanup.clean(pool, nobody, 3600.0, 5)).cleaned == 65


async def test_a_buried_dead_letter_keeps_its_error(pool: Pool) -> None:
    (task_id,) = await dead(pool, 1, "3 hours")
    await given.change(pool, task_id, """error = '{"code": "task_timeout", "message": "slow", "retryable": true}'""")
    await cleanup.clean(pool, nobody, 3600.0, 100)
    row = await given.row(pool, task_id)
    assert row["status"] == "failed"
    assert "slow" in str(row["error"])


async def test_its_metrics_have_the_seeds_names(pool: Pool, start: Services) -> None:
    await dead(pool, 30)
    dlq = await start("dlq", dlq_max_size=12)
    await until(lambda: dlq.logged("dead letters removed by cleanup"))
    page = await metrics(dlq)
    for name in SEED:
        assert f"# TYPE {name}" in page, name
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("dlq_"))
    assert (lines["dlq_size"], lines["dlq_tasks_remaining"], lines['dlq_tasks_cleaned_total{reason="excess"}']) == ("12.0", "12.0", "18.0")
    assert lines["dlq_cleanup_success_total"] == "1.0"


async def test_it_waits_out_an_outage_of_postgres_and_counts_what_failed(own_postgres: PostgresServer, pool: Pool, start: Services) -> None:
    dlq = await start("dlq", dlq_max_size=0, dlq_cleanup_interval=0.1)
    own_postgres.kill()
    await until(lambda: dlq.logged("outage, waiting", loop="cleanup"))

    async def failures() -> float:
        found = next(line for line in (await metrics(dlq)).splitlines() if line.startswith("dlq_cleanup_failure_total "))
        return float(found.rpartition(" ")[2])

    await until(failures)
    own_postgres.start()
    await until(lambda: dlq.logged("recovered", loop="cleanup"))

    async def bury() -> bool:
        try:
            await dead(pool, 1)
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    await until(bury)
    await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE status = 'dead_letter'"))


async def test_it_needs_no_nats_and_stops_when_asked(start: Services) -> None:
    dlq = await start("dlq", nats_url="nats://127.0.0.1:1")
    assert await dlq.stop(5) == 0
    assert not dlq.ready_file.exists()
