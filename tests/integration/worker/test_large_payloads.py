"""Large payloads beside small ones: nothing small waits for them, at the door or in the worker, and a worker holds only a few of them at a time."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.rest import at_rest
from support.system import Services
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store import postgres as store
from waggle.store import tasks
from waggle.store.idempotency import Key
from waggle.store.tasks import NewTask
from waggle_api.submit.catalogue import Catalogue
from waggle_api.submit.commit import LARGE_BYTES, Committer

Pool = asyncpg.Pool
LARGE_PAYLOAD = '{"body":"' + "x" * (1 << 20) + '"}'
MORE_THAN_IN_FLIGHT = 5
MANY = 120  # of a megabyte each
WORKER_MB = 120


@pytest.fixture
async def committer(pool: Pool, bus: Bus, settings: FleetSettings) -> AsyncIterator[Committer]:
    async with store.pool(settings, "api", 12) as own:
        catalogue, ringer = Catalogue(own), Ringer(bus, subjects.IDS_LIMIT)
        await ringer.open()
        await catalogue.refresh()
        made = Committer(own, bus, ringer, catalogue)
        async with loop(made.run()):
            yield made


def incompressible() -> str:
    return '{"body":"' + base64.b64encode(os.urandom(750_000)).decode() + '"}'


def compressible() -> str:
    return json.dumps({"body": "a line of a log that says the same again and again\n" * 20_000})


async def held_back(pool: Pool) -> asyncpg.Connection:
    """A transaction that blocks every insert of a large payload: a trigger waits for its lock."""
    await pool.execute(
        f"""
        CREATE FUNCTION wait_when_large() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF octet_length(NEW.payload::text) > {LARGE_BYTES} THEN PERFORM pg_advisory_xact_lock_shared(7); END IF;
            RETURN NEW;
        END $$
        """
    )
    await pool.execute("CREATE TRIGGER waits BEFORE INSERT ON waggle.tasks FOR EACH ROW EXECUTE FUNCTION wait_when_large()")
    holder = await pool.acquire()
    await holder.execute("SELECT pg_advisory_lock(7)")
    return holder


@pytest.mark.parametrize("keyed", [False, True])
async def test_small_submissions_are_committed_while_large_ones_wait_for_postgres(pool: Pool, committer: Committer, keyed: bool) -> None:
    holder = await held_back(pool)

    def submission(**fields: Any) -> tuple[list[NewTask], Key | None]:
        new = given.new_task(**fields)
        return [new], Key("anonymous", str(new.id), b"body", (new.id,)) if keyed else None

    large = [asyncio.create_task(committer.commit(*submission(payload=LARGE_PAYLOAD))) for _ in range(MORE_THAN_IN_FLIGHT)]
    await until(lambda: pool.fetchval("SELECT count(*) >= 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
    async with asyncio.timeout(4):  # less than a group is repeated for
        for _ in range(3):
            assert (await committer.commit(*submission())).created == 1
    assert not any(one.done() for one in large)
    await holder.execute("SELECT pg_advisory_unlock(7)")
    await pool.release(holder)
    assert [one.created for one in await asyncio.gather(*large)] == [1] * MORE_THAN_IN_FLIGHT


async def test_a_claim_leaves_a_large_payload_to_whoever_holds_the_task(pool: Pool) -> None:
    await given.alive(pool)
    (large,) = await given.waiting(pool, payload=(text := incompressible()))
    (small,) = await given.waiting(pool, payload='{"to":"x"}')
    claimed = {task.id: task for task in await tasks.claim(pool, [large, small], "w1")}
    assert (claimed[large].payload, claimed[small].payload) == ("", '{"to":"x"}')

    fence = given.fence(claimed[large])
    assert await tasks.payload(pool, fence) == text
    for change in ({"attempt": 2}, {"worker_id": "w2"}, {"started_at": fence.started_at - timedelta(seconds=1)}):
        assert await tasks.payload(pool, msgspec.structs.replace(fence, **change)) is None
    assert await tasks.cancel(pool, large)
    assert await tasks.payload(pool, fence) is None


@pytest.mark.parametrize("payload", [incompressible, compressible])
async def test_a_worker_that_has_every_slot_for_large_payloads_stays_small(pool: Pool, start: Services, effects: Path, payload: Callable[[], str]) -> None:
    await start("scheduler")
    ids = [(await given.waiting(pool, ring=False, type="test.measured", payload=payload()))[0] for _ in range(MANY)]
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=MANY)
    for task_id in ids:
        row = await at_rest(pool, task_id, 60.0)
        assert (row["status"], row["outcomes"]) == ("completed", ["completed"])
    status = Path(f"/proc/{worker.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    assert peak < WORKER_MB, f"{peak:.0f} MB"


async def test_a_worker_that_stops_gives_back_what_waits_for_its_payload(pool: Pool, start: Services, effects: Path) -> None:
    await start("scheduler")
    ids = [(await given.waiting(pool, ring=False, type="test.measured", payload=incompressible()))[0] for _ in range(MANY)]
    worker = await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=MANY)
    await until(lambda: pool.fetchval("SELECT count(*) > 0 FROM waggle.tasks WHERE status = 'running'"))
    assert await worker.stop() == 0
    outcomes = [row["outcome"] for row in await pool.fetch("SELECT outcome FROM waggle.task_attempts")]
    assert set(outcomes) <= {"completed", "given_back"}
    assert "given_back" in outcomes
    assert not await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'running' OR retry_count > 0 OR lost_count > 0")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=MANY)
    for task_id in ids:
        assert (await at_rest(pool, task_id, 60.0))["status"] == "completed"


async def test_large_values_are_compressed_by_lz4_where_the_server_has_it_and_else_not_at_all(pool: Pool) -> None:
    """Compressed by pglz, such a payload takes more CPU than all the rest of its insert."""
    kinds = await pool.fetchval("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
    (task_id,) = await given.waiting(pool, payload=f'{{"text": "{"word " * 100_000}"}}')
    found = await pool.fetchrow(
        "SELECT pg_column_compression(payload) AS kind, pg_column_size(payload) > 500000 AS whole FROM waggle.tasks WHERE id = $1", task_id
    )
    assert dict(found) == ({"kind": "lz4", "whole": False} if "lz4" in kinds else {"kind": None, "whole": True})
