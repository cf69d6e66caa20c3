"""A task starts only by a claim: of what is claimable, by a worker whose lease is live, and by one worker only."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.fleet import FleetSettings
from waggle.repair.reclaim import reclaim
from waggle.store import leases, tasks
from waggle.store import postgres as store
from waggle.task import AttemptOutcome, Status, Step

Pool = asyncpg.Pool


async def test_a_claim_starts_the_task_and_gives_what_its_handler_needs(pool: Pool) -> None:
    await given.alive(pool)
    (task_id,) = await given.waiting(pool, payload='{"to":"x"}', timeout=7.5, max_retries=2, queue="mail", priority=3)
    (claimed,) = await tasks.claim(pool, [task_id], "w1")
    assert (claimed.id, claimed.attempt, claimed.type, claimed.payload, claimed.timeout) == (task_id, 1, "demo.echo", '{"to":"x"}', 7.5)
    assert (claimed.retry_count, claimed.max_retries, claimed.queue, claimed.priority) == (0, 2, "mail", 3)
    row = await given.row(pool, task_id)
    assert (row["status"], row["attempt"], row["worker_id"], row["started_at"]) == ("running", 1, "w1", claimed.started_at)


async def test_a_task_that_was_lost_is_claimed_only_by_name_or_if_its_type_can_kill_no_worker(pool: Pool) -> None:
    await given.alive(pool)
    fresh, lost, named = await given.waiting(pool, 3)
    [harmless] = await given.waiting(pool, type="in.a.process")
    await given.change(pool, [lost, named, harmless], "lost_count = 1, retry_count = 3")
    claimed = await tasks.claim(pool, [fresh, lost, named, harmless], "w1", lost=[named], harmless=["in.a.process"])
    assert {task.id for task in claimed} == {fresh, named, harmless}
    [passed] = await tasks.still_claimable(pool, [fresh, lost, named, harmless])
    assert (passed.id, passed.type, passed.lost_count, passed.last_try) == (lost, "demo.echo", 1, True)


async def test_a_suspect_that_is_put_off_waits_unclaimed_and_unrung(pool: Pool) -> None:
    await given.alive(pool)
    lost, fresh, cancelled = await given.waiting(pool, 3)
    await given.change(pool, [lost, cancelled], "lost_count = 1")
    await given.change(pool, cancelled, "status = 'cancelled'")
    assert await tasks.put_off(pool, {lost: 60.0, fresh: 60.0, cancelled: 60.0}) == {lost}
    row = await given.row(pool, lost)
    assert (row["status"], row["rung_at"], row["attempt"]) == ("pending", None, 0)
    assert 55 < (row["run_at"] - row["updated"]).total_seconds() < 65
    assert {task.id for task in await tasks.claim(pool, [lost, fresh], "w1", lost=[lost])} == {fresh}


async def test_what_an_app_declares_is_claimed_and_taken_back_however_large(pool: Pool) -> None:
    """A timeout that means none, and retries without end, are no odd rows."""
    await given.alive(pool)
    [task] = await given.running(pool, timeout=1e300, max_retries=2**31 - 1)
    await given.change(pool, task.id, "rung_at = '9998-01-01', updated = '9998-01-01'")
    await leases.leave(pool, "w1")
    assert [lost.fence.id for lost in await reclaim(pool, 100)] == [task.id]


async def test_what_is_not_there_is_not_claimed(pool: Pool) -> None:
    await given.alive(pool)
    assert await tasks.claim(pool, [UUID(int=7)], "w1") == []


async def test_a_worker_whose_lease_expired_claims_nothing(pool: Pool) -> None:
    await given.alive(pool)
    await given.gone(pool, "w1")
    ids = await given.waiting(pool, 3)
    assert await tasks.claim(pool, ids, "w1") == []
    assert {one.id for one in await tasks.still_claimable(pool, ids)} == set(ids)


async def test_a_worker_that_never_registered_claims_nothing(pool: Pool) -> None:
    ids = await given.waiting(pool)
    assert await tasks.claim(pool, ids, "nobody") == []


@pytest.mark.parametrize(
    "change",
    [
        "status = 'running', attempt = 1, started_at = now(), worker_id = 'other'",
        "status = 'completed'",
        "status = 'failed'",
        "status = 'cancelled'",
        "status = 'dead_letter'",
        "run_at = now() + interval '1 minute'",
        "deadline = now() - interval '1 ms'",
        "deadline = now()",
    ],
)
async def test_what_is_not_claimable_is_passed_over(pool: Pool, change: str) -> None:
    await given.alive(pool)
    ids = await given.waiting(pool, 2)
    await given.change(pool, ids[0], change)
    assert [task.id for task in await tasks.claim(pool, ids, "w1")] == [ids[1]]
    assert await tasks.still_claimable(pool, ids) == []


async def test_a_task_with_a_deadline_to_come_is_claimed(pool: Pool) -> None:
    await given.alive(pool)
    ids = await given.waiting(pool)
    await given.change(pool, ids, "deadline = now() + interval '1 minute'")
    assert len(await tasks.claim(pool, ids, "w1")) == 1


async def test_a_task_that_was_cancelled_is_never_claimed_afterwards(pool: Pool) -> None:
    await given.alive(pool)
    ids = await given.waiting(pool)
    await tasks.cancel(pool, ids[0])
    assert await tasks.claim(pool, ids, "w1") == []


async def test_a_row_that_somebody_holds_is_skipped_not_waited_for_and_still_claimable(pool: Pool) -> None:
    await given.alive(pool)
    ids = await given.waiting(pool, 3)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM waggle.tasks WHERE id = $1 FOR UPDATE", ids[1])
        async with asyncio.timeout(2):
            claimed = {task.id for task in await tasks.claim(pool, ids, "w1")}
        assert claimed == {ids[0], ids[2]}
        assert [one.id for one in await tasks.still_claimable(pool, ids)] == [ids[1]]


async def test_twenty_claims_in_parallel_give_each_task_to_one_worker(pool: Pool) -> None:
    ids = await given.waiting(pool, 300)
    workers = [await given.alive(pool, f"w{n}") for n in range(20)]
    claimed = await asyncio.gather(*(tasks.claim(pool, ids[n * 7 :] + ids[: n * 7], worker) for n, worker in enumerate(workers)))
    left = [await tasks.claim(pool, ids, workers[0])]
    assert sorted(task.id for batch in [*claimed, *left] for task in batch) == sorted(ids)
    assert await pool.fetchval("SELECT count(DISTINCT (id, attempt)) FROM waggle.tasks WHERE attempt = 1") == 300


async def test_the_attempt_rises_with_each_claim_and_a_retry_does_not_reset_it(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool)
    for attempt in (2, 3, 4):
        await tasks.settle(pool, [(given.fence(claimed), Step(Status.PENDING, AttemptOutcome.SNOOZED))])
        (claimed,) = await tasks.claim(pool, [claimed.id], "w1")
        assert claimed.attempt == attempt
    assert claimed.retry_count == 0


async def test_a_claimed_task_is_shown_as_it_stands(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool, metadata='{"tenant": "a"}', description="what for", unique_key="k")
    stored = await tasks.get(pool, claimed.id)
    assert stored is not None
    shown = claimed.as_task()
    for name in ("id", "type", "status", "priority", "description", "queue", "attempt", "unique_key", "created", "started_at"):
        assert getattr(shown, name) == getattr(stored, name), name


async def test_a_claim_is_flushed_before_it_is_answered_whatever_the_servers_default(pool: Pool, settings: FleetSettings) -> None:
    await pool.execute(f"ALTER DATABASE {settings.postgres_url.rpartition('/')[2]} SET synchronous_commit = off")
    async with store.pool(settings, "worker", 1) as workers:
        assert await workers.fetchval("SELECT current_setting('synchronous_commit')") == "on"
