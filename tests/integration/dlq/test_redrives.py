"""A redrive proceeds step by step, in any dlq service: watched, paced, stopped, and never twice for the same task."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog.testing

from support import given
from support.facts import until
from support.given_dead import dead, error_of, many_dead, nobody
from support.loops import loop
from waggle.bus.connection import Bus
from waggle.payload_changes import PayloadChanges
from waggle.redrive import FIRST_BATCH, DeadLetterFilter, Redrive
from waggle.store import dead_letters, redrives, tasks
from waggle.task import Done, Failed, Outcome, Snoozed, Tries, decide
from waggle_dlq import redriving

Pool = asyncpg.Pool

FAILED = Failed(error_of("again"))
DONE = Done(None)


async def begin(pool: Pool, *, rate: float = 1000.0, limit: int | None = None, changes: PayloadChanges | None = None, **wanted: object) -> UUID:
    redrive_id = uuid4()
    async with pool.acquire() as connection:
        chosen = DeadLetterFilter(**wanted)  # type: ignore[arg-type]
        await redrives.begin(connection, redrive_id, chosen, rate=rate, limit=limit, submitted_by="anna", changes=changes)
    return redrive_id


async def step(pool: Pool, redrive_id: UUID) -> Redrive:
    """Execute the next step without the wait before it."""
    await pool.execute("UPDATE waggle.redrives SET next_at = now() - interval '1 s' WHERE id = $1", redrive_id)
    assert await redriving.go_on(pool, nobody)
    return await state(pool, redrive_id)


async def state(pool: Pool, redrive_id: UUID) -> Redrive:
    found = await redrives.get(pool, redrive_id)
    assert found is not None
    return found


async def run(pool: Pool, outcome: Outcome, most: int = 1000) -> int:
    """Run pending tasks in a worker; returns how many."""
    worker_id = f"w-{uuid4()}"
    await given.alive(pool, worker_id)
    ids = [row["id"] for row in await pool.fetch("SELECT id FROM waggle.tasks WHERE status = 'pending' ORDER BY id LIMIT $1", most)]
    claimed = await tasks.claim(pool, ids, worker_id)
    if claimed:
        await tasks.settle(pool, [(given.fence(task, worker_id), decide(outcome, Tries(task.retry_count, task.max_retries))) for task in claimed])
    return len(claimed)


async def test_what_fails_again_at_once_stops_it_after_the_first_few(pool: Pool) -> None:
    await dead(pool, 50)
    redrive_id = await begin(pool)
    assert (await step(pool, redrive_id)).retried == FIRST_BATCH
    assert (await step(pool, redrive_id)).retried == FIRST_BATCH  # it waits for their outcomes
    await run(pool, FAILED)
    with structlog.testing.capture_logs() as lines:
        stopped = await step(pool, redrive_id)
    assert (stopped.state, stopped.retried, stopped.failed_again) == ("stopped", FIRST_BATCH, FIRST_BATCH)
    assert stopped.reason == "10 of the last 10 finished tasks failed again"
    assert stopped.ended_at
    assert [(line["event"], line["asked_by"]) for line in lines] == [("redrive stopped, its tasks failed again", "anna")]
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter'") == 40


async def test_what_does_well_goes_on_to_the_end(pool: Pool) -> None:
    await dead(pool, 600)
    redrive_id = await begin(pool)
    found = await step(pool, redrive_id)
    while found.state == "running":
        await run(pool, DONE)
        found = await step(pool, redrive_id)
    assert (found.state, found.matched, found.retried, found.failed_again) == ("completed", 600, 600, 0)
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries WHERE redrive_id = $1", redrive_id) == 600


async def test_one_that_was_interrupted_goes_on_with_the_same_changes(pool: Pool) -> None:
    await dead(pool, 70, payload='{"a": 1}')
    redrive_id = await begin(pool, changes=PayloadChanges(copy={"b": "a"}, drop=["a"]))
    assert (await step(pool, redrive_id)).retried == FIRST_BATCH
    await run(pool, DONE)  # a step knows only what stands in Postgres, as after a restart
    found = await step(pool, redrive_id)
    assert (found.state, found.retried, found.unfit) == ("completed", 70, 0)
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE payload::text = '{\"b\":1}'") == 70


async def test_a_failure_that_comes_later_stops_it_too(pool: Pool) -> None:
    await dead(pool, 1500)
    redrive_id = await begin(pool)
    found = await step(pool, redrive_id)
    for _ in range(3):
        await run(pool, DONE)
        found = await step(pool, redrive_id)
    while found.state == "running":
        await run(pool, FAILED)
        found = await step(pool, redrive_id)
    assert found.state == "stopped"
    assert found.retried < 1500


async def test_handlers_that_take_long_do_not_hold_it_up(pool: Pool) -> None:
    await dead(pool, 30)
    redrive_id = await begin(pool)
    await step(pool, redrive_id)
    await pool.execute("UPDATE waggle.redrives SET portion_at = now() - interval '11 s'")
    assert (await step(pool, redrive_id)).state == "completed"


async def test_a_queue_in_which_nothing_ends_does_not_fill_without_bound(pool: Pool) -> None:
    await dead(pool, 300)
    redrive_id = await begin(pool, rate=1.0)
    for _ in range(80):
        await pool.execute("UPDATE waggle.redrives SET portion_at = now() - interval '11 s'")
        found = await step(pool, redrive_id)
    assert (found.state, found.retried) == ("running", 60)
    await run(pool, DONE, 20)
    assert (await step(pool, redrive_id)).retried == 61


async def test_a_snooze_is_no_outcome_and_a_cancelled_task_counts_as_neither(pool: Pool) -> None:
    await dead(pool, 20)
    redrive_id = await begin(pool)
    await step(pool, redrive_id)
    await run(pool, Snoozed(0.0))
    assert (await step(pool, redrive_id)).retried == FIRST_BATCH
    assert await pool.fetchval("SELECT count(*) FROM waggle.dead_letter_retries WHERE outcome IS NULL") == FIRST_BATCH
    for row in await pool.fetch("SELECT id FROM waggle.tasks WHERE status = 'pending'"):
        await tasks.cancel(pool, row["id"])
    found = await step(pool, redrive_id)
    assert (found.state, found.retried, found.failed_again) == ("completed", 20, 0)


async def test_a_task_that_dies_again_is_not_retried_a_second_time(pool: Pool) -> None:
    await dead(pool, 12, max_retries=0)
    redrive_id = await begin(pool)
    await step(pool, redrive_id)
    await run(pool, FAILED, 4)
    await run(pool, DONE)
    found = await step(pool, redrive_id)
    assert (found.state, found.retried, found.failed_again) == ("completed", 12, 4)
    assert await pool.fetchval("SELECT max(n) FROM (SELECT count(*) AS n FROM waggle.dead_letter_retries GROUP BY task_id) x") == 1
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter'") == 4


async def test_outcomes_are_counted_after_its_end_too(pool: Pool) -> None:
    await dead(pool, 3)
    redrive_id = await begin(pool)
    assert (await step(pool, redrive_id)).state == "completed"
    await run(pool, FAILED)
    found = await step(pool, redrive_id)
    assert (found.state, found.failed_again) == ("completed", 3)
    assert await pool.fetchval("SELECT next_at FROM waggle.redrives") is None


async def test_of_two_dead_letters_with_one_unique_key_one_is_retried(pool: Pool) -> None:
    (first,) = await dead(pool, unique_key="k")
    (second,) = await dead(pool, unique_key="k")
    (taken,) = await dead(pool, unique_key="t")
    (late,) = await dead(pool, unique_key="l")
    await given.change(pool, late, "deadline = now()")
    await given.waiting(pool, unique_key="t")
    found = await step(pool, await begin(pool))
    assert (found.state, found.retried, found.skipped) == ("completed", 1, 3)
    statuses = {task_id: (await given.row(pool, task_id))["status"] for task_id in (first, second, taken, late)}
    assert statuses == {first: "pending", second: "dead_letter", taken: "dead_letter", late: "dead_letter"}


async def test_a_unique_key_that_is_taken_at_the_same_moment_costs_only_a_step(pool: Pool) -> None:
    (task_id, other) = await dead(pool, type="demo.echo", unique_key="k"), await dead(pool)
    redrive_id = await begin(pool)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await given.waiting(connection, unique_key="k")
        going = asyncio.create_task(redriving.go_on(pool, nobody))
        await until(
            lambda: pool.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"),
            what="the retry waits for the key",
        )
        await transaction.commit()
    assert await going
    assert (await state(pool, redrive_id)).retried == 0
    found = await step(pool, redrive_id)
    assert (found.state, found.retried, found.skipped) == ("completed", 1, 1)
    assert (await given.row(pool, task_id[0]))["status"] == "dead_letter"
    assert (await given.row(pool, other[0]))["status"] == "pending"


async def test_several_services_share_redrives_and_retry_each_task_once(pool: Pool, bus: Bus) -> None:
    await many_dead(pool, 2000)
    ids = [await begin(pool, rate=10_000.0) for _ in range(3)]
    stopping = asyncio.Event()

    async def ended() -> bool:
        await run(pool, DONE)
        return bool(await pool.fetchval("SELECT count(*) = 3 FROM waggle.redrives WHERE state = 'completed'"))

    async with loop(redriving.redrive(pool, bus, asyncio.Event(), stopping)), loop(redriving.redrive(pool, bus, asyncio.Event(), stopping)):
        await until(ended, 30)
    assert await pool.fetchrow("SELECT count(*), count(DISTINCT task_id) FROM waggle.dead_letter_retries") == (2000, 2000)
    assert sum([(await state(pool, each)).retried for each in ids]) == 2000


async def test_two_services_do_not_double_the_rate(pool: Pool) -> None:
    await dead(pool, 5)
    redrive_id = await begin(pool, rate=0.01)
    async with pool.acquire() as one, one.transaction():
        assert await redrives.lock_due(one)
        assert not await redriving.go_on(pool, nobody)
    assert (await step(pool, redrive_id)).retried == 1
    assert not await redriving.go_on(pool, nobody), "the next one is due in 100 s"


async def test_one_whose_rows_somebody_holds_does_not_hold_up_the_others(pool: Pool) -> None:
    (held,) = await dead(pool)
    first = await begin(pool, ids=[held])
    second = await begin(pool, ids=await dead(pool, 3))
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM waggle.tasks WHERE id = $1 FOR UPDATE", held)
        assert await redriving.go_on(pool, nobody)  # it waits for lock_timeout, and is postponed
        assert await redriving.go_on(pool, nobody)
        assert [(await state(pool, each)).retried for each in (first, second)] == [0, 3]
    assert (await step(pool, first)).retried == 1


async def test_a_repeated_begin_changes_nothing(pool: Pool) -> None:
    await dead(pool, 2)
    redrive_id = await begin(pool)
    before = await step(pool, redrive_id)
    async with pool.acquire() as connection:
        await redrives.begin(connection, redrive_id, DeadLetterFilter(), rate=5.0, limit=1, submitted_by="berta")
    assert await state(pool, redrive_id) == before


async def test_what_died_after_it_began_is_left_alone(pool: Pool) -> None:
    await dead(pool, 2)
    redrive_id = await begin(pool)
    await dead(pool, 2)
    found = await step(pool, redrive_id)
    assert (found.state, found.matched, found.retried) == ("completed", 2, 2)


@pytest.mark.parametrize("obstacle", ["deadline", "unique_key"])
async def test_a_revival_names_its_obstacle(pool: Pool, obstacle: str) -> None:
    (task_id,) = await dead(pool, unique_key="k")
    if obstacle == "deadline":
        await given.change(pool, task_id, "deadline = now()")
    else:
        await given.waiting(pool, unique_key="k")
    assert await dead_letters.retry(pool, [task_id, uuid4()], how="manual") == ([], {task_id: obstacle})
