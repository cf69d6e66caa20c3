"""What time catches up with: due tasks, orphans, deadlines, retention, dead letters. Each statement by itself, and two at once."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.given_dead import ids_of
from waggle.store import dead_letters, idempotency, tasks, waiting
from waggle.store.idempotency import Key
from waggle.task import AttemptOutcome, Status, Step

Pool = asyncpg.Pool
LANE = ("default", 1)


async def ended(pool: Pool, count: int, status: str = "completed", age: str = "1 hour") -> list[UUID]:
    """Tasks that were created and ended so long ago."""
    ids = await given.waiting(pool, count)
    moment = f"now() - interval '{age}'"
    await given.change(pool, ids, f"status = '{status}', created = {moment}, updated = {moment}, completed_at = {moment}")
    return ids


# due


async def test_due_tasks_are_marked_the_earliest_first_and_once(pool: Pool) -> None:
    later, earlier = await given.waiting(pool, 2, ring=False)
    await given.change(pool, earlier, "run_at = now() - interval '1 minute'")
    (first,) = await waiting.mark_due(pool, 1)
    assert first[0] == earlier
    (second,) = await waiting.mark_due(pool, 10)
    assert second[:3] == (later, "default", 1)
    assert (await given.row(pool, later))["rung_at"] == second[3]
    assert await waiting.mark_due(pool, 10) == []


@pytest.mark.parametrize("change", ["run_at = now() + interval '1 minute'", "rung_at = now()", "deadline = now()", "status = 'cancelled'"])
async def test_what_is_not_due_is_left_alone(pool: Pool, change: str) -> None:
    ids = await given.waiting(pool, 1, ring=False)
    await given.change(pool, ids, change)
    assert await waiting.mark_due(pool, 10) == []


async def test_two_schedulers_at_once_mark_each_due_task_once(pool: Pool) -> None:
    ids = await given.waiting(pool, 500, ring=False)

    async def scheduler() -> list[UUID]:
        mine: list[UUID] = []
        while bells := await waiting.mark_due(pool, 30):
            mine += [bell[0] for bell in bells]
        return mine

    both = await asyncio.gather(*(scheduler() for _ in range(4)))
    assert sorted(task_id for mine in both for task_id in mine) == sorted(ids)


async def test_the_next_due_time_is_that_of_the_earliest_task_that_nobody_rang(pool: Pool) -> None:
    assert await waiting.next_due(pool) is None
    await given.waiting(pool, 1)
    assert await waiting.next_due(pool) is None
    await given.waiting(pool, 1, delay=60.0)
    await given.waiting(pool, 1, delay=30.0)
    seconds = await waiting.next_due(pool)
    assert seconds is not None
    assert 25 < seconds <= 30


# orphans


async def test_the_lanes_are_those_of_rung_tasks_without_the_paused_ones(pool: Pool) -> None:
    for queue, priority in (("a", 0), ("a", 3), ("b", 1), ("paused", 1)):
        await given.waiting(pool, 3, queue=queue, priority=priority)
    await given.waiting(pool, 1, queue="unrung", ring=False)
    await pool.execute("INSERT INTO waggle.queues (name, paused) VALUES ('paused', true), ('a', false)")
    assert await waiting.lanes(pool) == [("a", 0), ("a", 3), ("b", 1)]


async def test_orphans_are_what_was_rung_before_the_limit_and_is_still_claimable(pool: Pool) -> None:
    old, young, overdue, later, elsewhere, running = await given.waiting(pool, 6)
    await given.change(pool, [old, overdue, later, elsewhere, running], "rung_at = now() - interval '10 s'")
    await given.change(pool, overdue, "deadline = now()")
    await given.change(pool, later, "run_at = now() + interval '1 minute'")
    await given.change(pool, elsewhere, "priority = 2")
    await given.change(pool, running, "status = 'running', attempt = 1, started_at = now(), worker_id = 'w1'")
    limit = await waiting.now(pool) - timedelta(seconds=5)
    assert await waiting.has_orphans(pool, LANE, limit)
    (bell,) = await waiting.mark_orphans(pool, LANE, limit, 100)
    assert bell[:3] == (old, "default", 1)
    assert bell[3] > limit
    assert not await waiting.has_orphans(pool, LANE, limit)
    assert (await given.row(pool, young))["rung_at"] < bell[3]


async def test_orphans_are_rung_again_in_the_order_in_which_the_lane_held_them_as_many_as_fit(pool: Pool) -> None:
    ids = await given.waiting(pool, 6)
    for n, task_id in enumerate(ids):
        await given.change(pool, task_id, f"rung_at = now() - interval '{60 - n} s'")
    limit = await waiting.now(pool)
    assert [bell[0] for bell in await waiting.mark_orphans(pool, LANE, limit, 4)] == ids[:4]
    assert [bell[0] for bell in await waiting.mark_orphans(pool, LANE, limit, 4)] == ids[4:]


async def test_two_schedulers_at_once_ring_each_orphan_once(pool: Pool) -> None:
    ids = await given.waiting(pool, 400)
    await given.change(pool, ids, "rung_at = now() - interval '1 minute'")
    limit = await waiting.now(pool) - timedelta(seconds=5)

    async def scheduler() -> list[UUID]:
        mine: list[UUID] = []
        while bells := await waiting.mark_orphans(pool, LANE, limit, 30):
            mine += [bell[0] for bell in bells]
        return mine

    both = await asyncio.gather(*(scheduler() for _ in range(4)))
    assert sorted(task_id for mine in both for task_id in mine) == sorted(ids)


# deadlines


async def test_tasks_past_their_deadline_fail_whether_they_wait_or_run(pool: Pool) -> None:
    await given.alive(pool)
    (waits,), (runs,) = await given.waiting(pool), await given.running(pool)
    (in_time,) = await given.waiting(pool)
    await given.change(pool, [waits, runs.id], "deadline = now() - interval '1 s'")
    await given.change(pool, in_time, "deadline = now() + interval '1 minute'")
    failed = {task.id: (task.was, task.attempt, task.worker_id) for task in await waiting.fail_overdue(pool, 100)}
    assert failed == {waits: (Status.PENDING, 0, None), runs.id: (Status.RUNNING, 1, "w1")}
    for task_id in failed:
        found = await tasks.get(pool, task_id)
        assert found is not None
        assert found.status is Status.FAILED
        assert found.completed_at is not None
        assert found.error is not None
        assert found.error.code == "task_timeout"
    assert await tasks.attempts(pool, waits) == []
    assert [a["outcome"] for a in await tasks.attempts(pool, runs.id)] == ["deadline"]


async def test_a_result_after_the_deadline_is_discarded(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool)
    await given.change(pool, claimed.id, "deadline = now()")
    await waiting.fail_overdue(pool, 100)
    assert await tasks.settle(pool, [(given.fence(claimed), Step(Status.COMPLETED, AttemptOutcome.COMPLETED))]) == set()


async def test_what_has_ended_does_not_fail_at_its_deadline(pool: Pool) -> None:
    ids = await ended(pool, 1)
    ids += await ended(pool, 1, "dead_letter")
    await given.change(pool, ids, "deadline = now() - interval '1 minute'")
    assert await waiting.fail_overdue(pool, 100) == []


async def test_two_schedulers_at_once_fail_each_overdue_task_once(pool: Pool) -> None:
    ids = await given.waiting(pool, 200)
    await given.change(pool, ids, "deadline = now()")
    both = await asyncio.gather(*(waiting.fail_overdue(pool, 60) for _ in range(6)))
    both += [await waiting.fail_overdue(pool, 200)]
    assert sorted(task.id for failed in both for task in failed) == sorted(ids)


# retention (the walk: test_scheduler_retention.py)


async def test_a_key_is_kept_as_long_as_one_of_its_tasks(pool: Pool) -> None:
    gone, kept = await ended(pool, 2, age="2 hours")
    keys = [
        Key("ada", "tasks are gone", b"1", (gone,)),
        Key("ada", "one is left", b"1", (gone, kept)),
        Key("ada", "too young", b"1", (gone,)),
    ]
    await idempotency.take(pool, keys)
    await pool.execute("UPDATE waggle.idempotency_keys SET created = now() - interval '2 hours' WHERE key <> 'too young'")
    assert await waiting.delete_expired_keys(pool, 3600.0, 100) == 0
    await pool.execute("DELETE FROM waggle.tasks WHERE id = $1", gone)
    assert await waiting.delete_expired_keys(pool, 3600.0, 100) == 1
    assert set(await idempotency.find(pool, keys)) == {("ada", "one is left"), ("ada", "too young")}


# dead letters


async def test_old_dead_letters_become_failed_the_oldest_first(pool: Pool) -> None:
    old = await ended(pool, 3, "dead_letter", "2 hours")
    young = await ended(pool, 2, "dead_letter", "10 minutes")
    await given.change(pool, old[2], "updated = now() - interval '3 hours'")
    assert ids_of(await dead_letters.remove_expired(pool, 3600.0, 1)) == [old[2]]
    assert sorted(ids_of(await dead_letters.remove_expired(pool, 3600.0, 100))) == sorted(old[:2])
    assert await waiting.dead_letters(pool) == len(young)
    row = await given.row(pool, old[0])
    assert row["status"] == "failed"
    assert row["completed_at"] == row["updated"]


async def test_dead_letters_over_the_maximum_become_failed_the_oldest_first(pool: Pool) -> None:
    ids = await ended(pool, 10, "dead_letter")
    for n, task_id in enumerate(ids):
        await given.change(pool, task_id, f"updated = now() - interval '{100 - n} s'")
    assert ids_of(await dead_letters.remove_excess(pool, 10, 100)) == []
    removed: list[UUID] = []
    while step := ids_of(await dead_letters.remove_excess(pool, 4, 2)):
        removed += step
    assert sorted(removed) == sorted(ids[:6])
    assert await waiting.dead_letters(pool) == 4


async def test_a_maximum_of_nothing_buries_all(pool: Pool) -> None:
    ids = await ended(pool, 3, "dead_letter")
    assert sorted(ids_of(await dead_letters.remove_excess(pool, 0, 100))) == sorted(ids)


async def test_dead_letters_of_the_same_instant_are_told_apart(pool: Pool) -> None:
    ids = await ended(pool, 5, "dead_letter")
    await given.change(pool, ids, "updated = '2026-01-01T00:00:00Z'")
    assert sorted(ids_of(await dead_letters.remove_excess(pool, 2, 100))) == sorted(ids)[:3]


async def test_several_services_at_once_never_bury_more_than_the_excess(pool: Pool) -> None:
    await ended(pool, 200, "dead_letter")

    async def service() -> int:
        total = 0
        while step := ids_of(await dead_letters.remove_excess(pool, 80, 13)):
            total += len(step)
        return total

    removed = await asyncio.gather(*(service() for _ in range(5)))
    removed += [await service()]
    assert sum(removed) == 120
    assert await waiting.dead_letters(pool) == 80


async def test_what_rests_nowhere_else_is_not_at_rest(pool: Pool) -> None:
    await given.alive(pool)
    (runs,) = await given.running(pool)
    waits = await given.waiting(pool, 2)
    rests = [task_id for status in ("completed", "failed", "cancelled", "dead_letter") for task_id in await ended(pool, 1, status)]
    assert sorted(await tasks.at_rest(pool, [runs.id, *waits, *rests, UUID(int=0)])) == sorted(rests)
