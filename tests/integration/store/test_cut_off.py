"""What a worker lost because it was cut off is undone: once, for tasks that wait or run, and for dead letters of that loss."""

import asyncio

import asyncpg
import pytest

from support import given
from support.facts import until
from waggle.errors import ErrorCode, TaskError
from waggle.repair.cut_off import Undone, undo
from waggle.repair.reclaim import reclaim
from waggle.store import leases, tasks
from waggle.task import Done, Failed, Fence, Tries, decide

Pool = asyncpg.Pool


async def lost(pool: Pool, count: int = 1, **fields: object) -> list[Fence]:
    """Attempts that were taken back from the worker w1."""
    await given.alive(pool)
    claimed = await given.running(pool, count, **fields)
    await leases.leave(pool, "w1")
    assert len(await reclaim(pool, 100)) == count
    return [given.fence(task) for task in claimed]


async def state(pool: Pool, fence: Fence) -> tuple[str, int, int, list[str]]:
    row = await given.row(pool, fence.id)
    attempts = await pool.fetch("SELECT outcome FROM waggle.task_attempts WHERE task_id = $1 ORDER BY attempt", fence.id)
    return row["status"], row["retry_count"], row["lost_count"], [attempt["outcome"] for attempt in attempts]


async def test_a_loss_is_undone_once(pool: Pool) -> None:
    [fence] = await lost(pool)
    assert await state(pool, fence) == ("pending", 1, 1, ["lost"])
    assert await undo(pool, [fence], [], "w1") == Undone(uncharged=1)
    assert await state(pool, fence) == ("pending", 0, 0, ["given_back"])
    assert await undo(pool, [], [fence], "w1") == Undone()
    assert await state(pool, fence) == ("pending", 0, 0, ["given_back"])


async def test_what_was_claimed_without_an_answer_is_not_charged(pool: Pool) -> None:
    """Its worker knows no attempt, only which tasks it asked for."""
    [taken_back] = await lost(pool)
    await given.alive(pool)
    [running] = [given.fence(task) for task in await given.running(pool)]
    [never_claimed] = await given.waiting(pool)
    asked = [taken_back.id, running.id, never_claimed]
    assert await undo(pool, [], [], "w1", asked) == Undone(given_back=1, uncharged=1)
    for fence in (taken_back, running):
        assert await state(pool, fence) == ("pending", 0, 0, ["given_back"])
    assert await undo(pool, [], [], "w1", asked) == Undone()
    assert (await given.row(pool, never_claimed))["status"] == "pending"


async def test_an_outcome_on_its_way_is_not_given_back_though_an_earlier_claim_had_no_answer(pool: Pool) -> None:
    await given.alive(pool)
    [ended] = [given.fence(task) for task in await given.running(pool)]
    assert await undo(pool, [], [ended], "w1", [ended.id]) == Undone()
    assert await state(pool, ended) == ("running", 0, 0, [])


async def test_what_was_not_yet_taken_back_goes_back(pool: Pool) -> None:
    await given.alive(pool)
    [task] = await given.running(pool)
    assert await undo(pool, [given.fence(task)], [], "w1") == Undone(given_back=1)
    assert await state(pool, given.fence(task)) == ("pending", 0, 0, ["given_back"])


async def test_a_later_try_elsewhere_keeps_its_task_and_its_own_charge(pool: Pool) -> None:
    [fence] = await lost(pool)
    await given.alive(pool, "w2")
    [again] = await tasks.claim(pool, [fence.id], "w2")
    await undo(pool, [fence], [], "w1")
    assert (await state(pool, fence))[:3] == ("running", 0, 0)
    await leases.leave(pool, "w2")
    await reclaim(pool, 100)
    assert await state(pool, fence) == ("pending", 1, 1, ["given_back", "lost"])
    assert await undo(pool, [fence], [], "w2") == Undone(), "another attempt"
    assert again.attempt == 2


async def test_what_came_to_rest_stays_as_it_is(pool: Pool) -> None:
    [fence] = await lost(pool)
    await given.alive(pool, "w2")
    [again] = await tasks.claim(pool, [fence.id], "w2")
    await tasks.settle(pool, [(given.fence(again, "w2"), decide(Done("1"), Tries(1, 3)))])
    assert await undo(pool, [fence], [], "w1") == Undone()
    assert await state(pool, fence) == ("completed", 1, 1, ["lost", "completed"])


async def test_a_dead_letter_of_that_loss_runs_again(pool: Pool) -> None:
    [fence] = await lost(pool, max_retries=0)
    assert (await state(pool, fence))[0] == "dead_letter"
    assert await undo(pool, [fence], [], "w1") == Undone(uncharged=1, dead_letters=1)
    assert await state(pool, fence) == ("pending", 0, 0, ["given_back"])
    assert await pool.fetchval("SELECT retried_by FROM waggle.dead_letter_retries") == "a worker that was cut off"


async def test_a_dead_letter_that_runs_again_has_the_one_try_left_that_it_had(pool: Pool) -> None:
    await given.alive(pool)
    [task] = await given.running(pool, max_retries=2)
    for tries in range(2):
        await tasks.settle(
            pool, [(given.fence(task), decide(Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, "no", retryable=True), after=0.0), Tries(tries, 2)))]
        )
        [task] = await tasks.claim(pool, [task.id], "w1")
    await leases.leave(pool, "w1")
    await reclaim(pool, 100)
    assert await state(pool, given.fence(task)) == ("dead_letter", 2, 1, ["failed", "failed", "lost"])
    assert await undo(pool, [given.fence(task)], [], "w1") == Undone(uncharged=1, dead_letters=1)
    assert await state(pool, given.fence(task)) == ("pending", 2, 0, ["failed", "failed", "given_back"])


async def test_a_dead_letter_whose_unique_key_another_task_has_stays_one(pool: Pool) -> None:
    [fence] = await lost(pool, max_retries=0, unique_key="one")
    await given.waiting(pool, unique_key="one")
    assert await undo(pool, [fence], [], "w1") == Undone(dead_letters_left=1)
    assert await state(pool, fence) == ("dead_letter", 0, 1, ["lost"])


async def test_a_unique_key_that_is_taken_at_that_moment_leaves_its_dead_letter_and_the_others_are_undone(pool: Pool) -> None:
    await given.alive(pool)
    fences = [given.fence(task) for fields in ({"unique_key": "one", "max_retries": 0}, {}) for task in await given.running(pool, **fields)]
    await leases.leave(pool, "w1")
    await reclaim(pool, 100)
    async with pool.acquire() as other, other.transaction():
        await given.waiting(other, unique_key="one")
        undoing = asyncio.create_task(undo(pool, fences, [], "w1"))
        await until(lambda: pool.fetchval("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"))
    assert await undoing == Undone(uncharged=1, dead_letters_left=1)
    assert [(await state(pool, fence))[:3] for fence in fences] == [("dead_letter", 0, 1), ("pending", 0, 0)]


@pytest.mark.parametrize("worker_id", ["w2", ""])
async def test_a_loss_of_another_lease_is_not_undone(pool: Pool, worker_id: str) -> None:
    [fence] = await lost(pool)
    assert await undo(pool, [], [fence], worker_id) == Undone()
    assert (await state(pool, fence))[1:3] == (1, 1)
