"""Who may take the cleanup that is owed to a task, and when."""

from uuid import UUID

import asyncpg
import pytest

from support import given
from waggle.errors import ErrorCode, TaskError
from waggle.store import catalogue, cleanups, tasks, waiting
from waggle.store.catalogue import TaskType
from waggle.store.cleanups import PendingCleanup
from waggle.task import Failed, Lost, Tries, decide

Pool = asyncpg.Pool

BOOM = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "boom", retryable=False)
GRAVE = decide(Failed(BOOM), Tries(0, 0))


@pytest.fixture(autouse=True)
async def hooked(pool: Pool) -> None:
    """A type with a hook, and two workers."""
    await catalogue.announce(pool, [TaskType("has.hook", "default", 3, 30.0, True, "{}")], ["default"], {"has.hook"})
    for worker_id in ("w1", "w2"):
        await given.alive(pool, worker_id)


async def taken(pool: Pool, worker_id: str, busy: list[UUID] | None = None) -> list[PendingCleanup]:
    return await cleanups.claim(pool, worker_id, ["has.hook"], busy or [], 10)


async def ended(pool: Pool) -> UUID:
    """A task that w1 ran into the ground."""
    [claimed] = await given.running(pool, type="has.hook")
    await tasks.settle(pool, [(given.fence(claimed), GRAVE)])
    return claimed.id


@pytest.mark.parametrize("how", ["settled", "lost", "cancelled", "cancelled while it ran", "overdue"])
async def test_whoever_ends_a_task_without_success_owes_its_cleanup(pool: Pool, how: str) -> None:
    if how in ("cancelled", "overdue"):
        [task_id] = await given.waiting(pool, type="has.hook")
    else:
        [claimed] = await given.running(pool, type="has.hook")
        task_id = claimed.id
    match how:
        case "settled":
            await tasks.settle(pool, [(given.fence(claimed), GRAVE)])
        case "lost":
            await tasks.settle(pool, [(given.fence(claimed), decide(Lost(), Tries(0, 0)))])
        case "overdue":
            await given.change(pool, task_id, "deadline = now() - interval '1 second'")
            await waiting.fail_overdue(pool, 10)
        case _:
            await tasks.cancel(pool, task_id)
    [cleanup] = await taken(pool, "w1")
    assert cleanup.task
    assert (cleanup.task_id, cleanup.task.as_task().status) == (task_id, (await given.row(pool, task_id))["status"])


async def test_a_try_that_is_followed_by_another_owes_nothing(pool: Pool) -> None:
    [claimed] = await given.running(pool, type="has.hook")
    await tasks.settle(pool, [(given.fence(claimed), decide(Lost(), Tries(0, 3)))])
    assert await taken(pool, "w1") == []


async def test_only_who_ran_the_task_takes_it_and_not_while_the_handler_goes_on(pool: Pool) -> None:
    task_id = await ended(pool)
    assert await taken(pool, "w2") == []
    assert await taken(pool, "w1", [task_id]) == []
    assert [cleanup.task_id for cleanup in await taken(pool, "w1")] == [task_id]


async def test_who_died_leaves_it_to_anybody_with_a_live_lease(pool: Pool) -> None:
    task_id = await ended(pool)
    await given.gone(pool, "w1")
    assert await taken(pool, "w1") == []
    [cleanup] = await taken(pool, "w2")
    assert (cleanup.task_id, cleanup.tries) == (task_id, 1)
    assert await taken(pool, "w1") == []


async def test_a_hook_whose_worker_died_is_called_by_another_and_the_first_one_settles_nothing(pool: Pool) -> None:
    await ended(pool)
    [first] = await taken(pool, "w1")
    await given.gone(pool, "w1")
    [second] = await taken(pool, "w2")
    await cleanups.end(pool, first, "w1")
    await cleanups.postpone(pool, first, "w1", 0.0, counted=True)
    assert await pool.fetchval("SELECT (worker_id, tries) FROM waggle.cleanups") == ("w2", 2)
    await cleanups.end(pool, second, "w2")
    assert not await pool.fetchval("SELECT count(*) FROM waggle.cleanups")


async def test_one_that_failed_waits_and_is_then_for_anybody(pool: Pool) -> None:
    await ended(pool)
    [cleanup] = await taken(pool, "w1")
    await cleanups.postpone(pool, cleanup, "w1", 60.0, counted=True)
    assert await taken(pool, "w2") == []
    await pool.execute("UPDATE waggle.cleanups SET due = now()")
    [again] = await taken(pool, "w2")
    assert again.tries == 2
    await cleanups.postpone(pool, again, "w2", 0.0, counted=False)
    assert [cleanup.tries for cleanup in await taken(pool, "w1")] == [2]


async def test_a_task_that_was_retried_or_deleted_in_the_meantime_is_owed_nothing(pool: Pool) -> None:
    retried, deleted = await ended(pool), await ended(pool)
    await given.change(pool, retried, "status = 'pending'")
    await pool.execute("DELETE FROM waggle.tasks WHERE id = $1", deleted)
    assert {cleanup.task_id: cleanup.task for cleanup in await taken(pool, "w1")} == {retried: None, deleted: None}


async def test_a_dead_letter_that_is_buried_was_cleaned_up_after_before(pool: Pool) -> None:
    task_id = await ended(pool)
    [cleanup] = await taken(pool, "w1")
    await cleanups.end(pool, cleanup, "w1")
    await given.change(pool, task_id, "status = 'failed', completed_at = now()")
    assert await taken(pool, "w1") == []


async def test_what_is_owed_to_tasks_that_are_gone_is_forgotten_after_their_retention(pool: Pool) -> None:
    kept, gone, young = await ended(pool), await ended(pool), await ended(pool)
    await pool.execute("UPDATE waggle.cleanups SET created = now() - interval '2 hours' WHERE task_id <> $1", young)
    await pool.execute("DELETE FROM waggle.tasks WHERE id = ANY ($1)", [gone, young])
    assert await cleanups.delete_expired(pool, 3600.0) == 1
    assert {cleanup.task_id for cleanup in await taken(pool, "w1")} == {kept, young}


async def test_an_error_that_cannot_be_read_does_not_keep_a_hook_from_its_task(pool: Pool) -> None:
    task_id = await ended(pool)
    await pool.execute("""UPDATE waggle.tasks SET error = '{"code": "of_tomorrow", "message": "no"}' WHERE id = $1""", task_id)
    [cleanup] = await taken(pool, "w1")
    assert cleanup.error.code is ErrorCode.INTERNAL_ERROR
    assert "of_tomorrow" in cleanup.error.message
