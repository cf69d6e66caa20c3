"""Only the holder of the fence settles; what an outcome does to the row, and to the task's timeline."""

import asyncio
from datetime import timedelta

import asyncpg
import msgspec
import pytest

from support import given
from support.facts import until
from waggle.errors import ErrorCode, TaskError
from waggle.store import dead_letters, tasks
from waggle.task import AT_REST, NEXT, AttemptOutcome, Done, Failed, Lost, Snoozed, Status, Step, Tries, decide

Pool = asyncpg.Pool

BOOM = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "boom", retryable=True, details={"n": 1})
DONE = Step(Status.COMPLETED, AttemptOutcome.COMPLETED, result='{"ok": true}')


@pytest.fixture(autouse=True)
async def worker(pool: Pool) -> str:
    return await given.alive(pool)


async def test_a_done_task_is_completed_with_its_result(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    assert await tasks.settle(pool, [(given.fence(claimed), DONE)]) == {(claimed.id, 1)}
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["result"], row["error"], row["worker_id"]) == ("completed", '{"ok": true}', None, "w1")
    assert row["completed_at"] == row["updated"]
    (attempt,) = await tasks.attempts(pool, claimed.id)
    assert (attempt["attempt"], attempt["worker_id"], attempt["started_at"], attempt["outcome"]) == (1, "w1", claimed.started_at, "completed")


async def test_a_failed_try_waits_until_its_time_unrung_and_counted(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), decide(Failed(BOOM, after=40.0), Tries(0, 3)))])
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["retry_count"], row["lost_count"], row["rung_at"], row["worker_id"], row["completed_at"]) == ("pending", 1, 0, None, None, None)
    assert row["run_at"] - row["updated"] == timedelta(seconds=40)
    assert msgspec.json.decode(row["error"], type=TaskError) == BOOM


async def test_a_snooze_waits_uncounted_and_keeps_the_last_error(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), decide(Failed(BOOM, after=0.0), Tries(0, 3)))])
    (again,) = await tasks.claim(pool, [claimed.id], "w1")
    await tasks.settle(pool, [(given.fence(again), decide(Snoozed(5.0), Tries(1, 3)))])
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert row["error"] is not None


async def test_a_completed_task_shows_no_error_of_an_earlier_try(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), decide(Failed(BOOM, after=0.0), Tries(0, 3)))])
    (again,) = await tasks.claim(pool, [claimed.id], "w1")
    await tasks.settle(pool, [(given.fence(again), DONE)])
    assert (await given.row(pool, claimed.id))["error"] is None
    assert [(a["attempt"], a["outcome"]) for a in await tasks.attempts(pool, claimed.id)] == [(1, "failed"), (2, "completed")]


async def test_a_dead_letter_is_at_rest_but_not_completed(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), decide(Failed(BOOM), Tries(3, 3)))])
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["completed_at"]) == ("dead_letter", None)
    assert await tasks.at_rest(pool, [claimed.id]) == [claimed.id]


async def test_a_lost_task_counts_its_losses_apart(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), decide(Lost(), Tries(0, 3)))])
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["retry_count"], row["lost_count"]) == ("pending", 1, 1)


async def test_one_statement_settles_every_kind_of_outcome(pool: Pool) -> None:
    claimed = await given.running(pool, 6)
    outcomes = [
        decide(Done(None), Tries(0, 3)),
        decide(Failed(BOOM), Tries(0, 3)),
        decide(Failed(BOOM), Tries(3, 3)),
        decide(Failed(BOOM), Tries(3, 3, dead_letter=False)),
        decide(Snoozed(1.0, AttemptOutcome.GIVEN_BACK), Tries(0, 3)),
        decide(Lost(), Tries(0, 3)),
    ]
    settled = await tasks.settle(pool, [(given.fence(task), step) for task, step in zip(claimed, outcomes, strict=True)])
    assert len(settled) == 6
    for task, step in zip(claimed, outcomes, strict=True):
        row = await given.row(pool, task.id)
        assert (row["status"], row["retry_count"], row["lost_count"]) == (step.status, int(step.counted), int(step.lost))
        (attempt,) = await tasks.attempts(pool, task.id)
        assert attempt["outcome"] == step.ended
        assert (attempt["error"] is None) == (step.error is None)


@pytest.mark.parametrize(
    "change",
    [
        "attempt = attempt + 1",
        "worker_id = 'other'",
        "started_at = started_at + interval '1 microsecond'",
        "status = 'pending'",
        "status = 'completed'",
        "status = 'failed'",
        "status = 'cancelled'",
        "status = 'dead_letter'",
    ],
)
async def test_who_does_not_hold_the_task_any_more_settles_nothing(pool: Pool, change: str) -> None:
    (claimed,) = await given.running(pool)
    await given.change(pool, claimed.id, change)
    before = await given.row(pool, claimed.id)
    assert await tasks.settle(pool, [(given.fence(claimed), DONE)]) == set()
    assert await given.row(pool, claimed.id) == before
    assert await tasks.attempts(pool, claimed.id) == []


async def test_a_stale_result_does_not_take_its_neighbours_with_it(pool: Pool) -> None:
    stale, good = await given.running(pool, 2)
    await tasks.cancel(pool, stale.id)
    assert await tasks.settle(pool, [(given.fence(stale), DONE), (given.fence(good), DONE)]) == {(good.id, 1)}


async def test_a_repeated_settle_changes_nothing(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    await tasks.settle(pool, [(given.fence(claimed), DONE)])
    before = await given.row(pool, claimed.id)
    assert await tasks.settle(pool, [(given.fence(claimed), DONE)]) == set()
    assert await given.row(pool, claimed.id) == before


async def test_a_cancelled_pending_task_has_ended_without_an_attempt(pool: Pool) -> None:
    (task_id,) = await given.waiting(pool)
    cancelled = await tasks.cancel(pool, task_id)
    assert cancelled is not None
    assert (cancelled.id, cancelled.was) == (task_id, Status.PENDING)
    row = await given.row(pool, task_id)
    assert row["status"] == "cancelled"
    assert row["completed_at"] is not None
    assert await tasks.attempts(pool, task_id) == []


async def test_a_cancelled_running_task_tells_who_ran_it_and_gets_its_attempt_row(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    cancelled = await tasks.cancel(pool, claimed.id)
    assert cancelled is not None
    assert (cancelled.was, cancelled.attempt, cancelled.worker_id) == (Status.RUNNING, 1, "w1")
    (attempt,) = await tasks.attempts(pool, claimed.id)
    assert attempt["outcome"] == "cancelled"


@pytest.mark.parametrize("status", sorted(AT_REST))
async def test_what_is_at_rest_cannot_be_cancelled(pool: Pool, status: Status) -> None:
    (task_id,) = await given.waiting(pool)
    await given.change(pool, task_id, f"status = '{status}'")
    assert await tasks.cancel(pool, task_id) is None
    assert (await given.row(pool, task_id))["status"] == status


async def test_of_a_cancel_and_a_settle_at_once_one_wins_and_both_are_told_the_truth(pool: Pool) -> None:
    claimed = await given.running(pool, 60)

    async def settle(task: int) -> bool:
        return bool(await tasks.settle(pool, [(given.fence(claimed[task]), DONE)]))

    async def cancel(task: int) -> bool:
        return await tasks.cancel(pool, claimed[task].id) is not None

    results = await asyncio.gather(*(race for n in range(60) for race in ((settle(n), cancel(n)) if n % 2 else (cancel(n), settle(n)))))
    for n, task in enumerate(claimed):
        first, second = results[2 * n : 2 * n + 2]
        did_settle, did_cancel = (first, second) if n % 2 else (second, first)
        assert did_settle != did_cancel
        assert (await given.row(pool, task.id))["status"] == ("completed" if did_settle else "cancelled")
        assert len(await tasks.attempts(pool, task.id)) == 1


async def test_a_claim_that_waits_behind_a_cancel_does_not_start_the_task(pool: Pool) -> None:
    (task_id,) = await given.waiting(pool)
    async with pool.acquire() as connection, connection.transaction():
        await tasks.cancel(connection, task_id)
        assert await tasks.claim(pool, [task_id], "w1") == []
    assert await tasks.claim(pool, [task_id], "w1") == []


async def test_a_settle_that_waits_behind_a_cancel_finds_its_guard_false(pool: Pool) -> None:
    (claimed,) = await given.running(pool)
    async with pool.acquire() as connection:
        async with connection.transaction():
            await tasks.cancel(connection, claimed.id)
            settle = asyncio.ensure_future(tasks.settle(pool, [(given.fence(claimed), DONE)]))
            await until(lambda: connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        assert await settle == set()
    assert (await given.row(pool, claimed.id))["status"] == "cancelled"
    assert [a["outcome"] for a in await tasks.attempts(pool, claimed.id)] == ["cancelled"]


async def test_the_status_machine_in_the_database_is_the_one_in_the_table(pool: Pool) -> None:
    """From every status, every statement that moves tasks: it goes where the table allows, or stays."""
    from waggle.store import waiting

    for before in Status:
        for move in ("claim", "settle", "cancel", "fail_overdue", "remove_expired", "remove_excess"):
            (claimed,) = await given.running(pool)
            await given.change(pool, claimed.id, f"status = '{before}', run_at = now() - interval '1 s', updated = now() - interval '1 hour'")
            if move == "fail_overdue":
                await given.change(pool, claimed.id, "deadline = now() - interval '1 s'")
            match move:
                case "claim":
                    await tasks.claim(pool, [claimed.id], "w1")
                case "settle":
                    await tasks.settle(pool, [(given.fence(claimed), DONE)])
                case "cancel":
                    await tasks.cancel(pool, claimed.id)
                case "fail_overdue":
                    await waiting.fail_overdue(pool, 100)
                case "remove_expired":
                    await dead_letters.remove_expired(pool, 60.0, 100)
                case "remove_excess":
                    await dead_letters.remove_excess(pool, 0, 100)
            after = Status(str((await given.row(pool, claimed.id))["status"]))
            assert after is before or after in NEXT.get(before, frozenset()), f"{move}: {before} became {after}"
            await pool.execute("DELETE FROM waggle.tasks")
            await pool.execute("DELETE FROM waggle.task_attempts")
