"""Leases: a heartbeat row with one expression for expired, and tasks that are lost when their worker's lease is not live."""

import asyncio

import asyncpg

from support import given
from support.facts import until
from support.servers import PostgresServer
from waggle.store import leases, primary, tasks
from waggle.store.catalogue import TaskType, announce
from waggle.store.client import Connection
from waggle.store.leases import LostTask
from waggle.task import AttemptOutcome, Status, Step

Pool = asyncpg.Pool


async def lock_lost(connection: Connection, most: int) -> list[LostTask]:
    return await leases.lock_lost(connection, await leases.without_live(connection), most)


async def lost(pool: Pool) -> list[str]:
    async with pool.acquire() as connection, connection.transaction():
        return [str(task.fence.id) for task in await lock_lost(connection, 100)]


async def test_a_heartbeat_renews_a_live_lease(pool: Pool) -> None:
    await given.alive(pool)
    before = (await leases.workers(pool))[0]["last_seen"]
    assert await leases.renew(pool, "w1", running=3, draining=True)
    (worker,) = await leases.workers(pool)
    assert worker["last_seen"] > before
    assert (worker["running"], worker["draining"], worker["alive"]) == (3, True, True)


async def test_a_heartbeat_never_renews_an_expired_lease(pool: Pool) -> None:
    await given.alive(pool)
    await given.gone(pool, "w1")
    before = (await leases.workers(pool))[0]["last_seen"]
    assert not await leases.renew(pool, "w1", running=0, draining=False)
    (worker,) = await leases.workers(pool)
    assert (worker["last_seen"], worker["alive"]) == (before, False)


async def test_a_lease_that_was_ended_cannot_be_renewed(pool: Pool) -> None:
    await given.alive(pool)
    await leases.leave(pool, "w1")
    assert not await leases.renew(pool, "w1", running=0, draining=False)


async def test_a_worker_id_names_one_lease(pool: Pool) -> None:
    await given.alive(pool)
    try:
        await given.alive(pool)
    except asyncpg.UniqueViolationError:
        return
    raise AssertionError("one id was registered twice")


async def test_a_task_under_a_live_lease_is_not_lost(pool: Pool) -> None:
    await given.alive(pool)
    await given.running(pool, 5)
    assert await lost(pool) == []


async def test_a_task_under_an_expired_lease_is_lost(pool: Pool) -> None:
    await given.alive(pool)
    await given.alive(pool, "w2")
    gone, kept = await given.running(pool, 2), await given.running(pool, 2, worker_id="w2")
    await given.gone(pool, "w1")
    assert sorted(await lost(pool)) == sorted(str(task.id) for task in gone)
    assert len(kept) == 2


async def test_a_task_whose_worker_has_no_row_is_lost(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool)
    await leases.leave(pool, "w1")
    assert await lost(pool) == [str(claimed.id)]


async def test_a_lost_task_that_another_scheduler_holds_is_skipped(pool: Pool) -> None:
    await given.alive(pool)
    await given.running(pool, 4)
    await leases.leave(pool, "w1")
    async with pool.acquire() as other, other.transaction():
        first = await lock_lost(other, 3)
        assert len(first) == 3
        assert len(await lost(pool)) == 1


async def test_what_follows_depends_on_the_tries_left_and_on_the_type(pool: Pool) -> None:
    await announce(pool, [TaskType("opted.out", "default", 0, 10.0, False, "{}")], ["default"])
    await given.alive(pool)
    (retried,) = await given.running(pool)
    (dead,) = await given.running(pool, max_retries=0)
    (failed,) = await given.running(pool, type="opted.out", max_retries=0)
    await leases.leave(pool, "w1")
    async with pool.acquire() as connection, connection.transaction():
        steps = {task.fence.id: task.step.status for task in await lock_lost(connection, 100)}
    assert steps == {retried.id: Status.PENDING, dead.id: Status.DEAD_LETTER, failed.id: Status.FAILED}


async def test_a_result_that_comes_after_the_take_back_is_discarded(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool)
    await leases.leave(pool, "w1")
    async with pool.acquire() as connection, connection.transaction():
        taken = await lock_lost(connection, 100)
        await tasks.settle(connection, [(task.fence, task.step) for task in taken])
    assert await tasks.settle(pool, [(given.fence(claimed), Step(Status.COMPLETED, AttemptOutcome.COMPLETED))]) == set()
    row = await given.row(pool, claimed.id)
    assert (row["status"], row["retry_count"], row["lost_count"], row["rung_at"]) == ("pending", 1, 1, None)
    assert [a["outcome"] for a in await tasks.attempts(pool, claimed.id)] == ["lost"]


async def test_a_result_that_comes_first_leaves_nothing_to_take_back(pool: Pool) -> None:
    await given.alive(pool)
    (claimed,) = await given.running(pool)
    await leases.leave(pool, "w1")
    async with pool.acquire() as connection:
        async with connection.transaction():
            await tasks.settle(connection, [(given.fence(claimed), Step(Status.COMPLETED, AttemptOutcome.COMPLETED))])
            assert await lost(pool) == []  # the row is held: skipped
        assert await lost(pool) == []


async def test_a_lease_does_not_run_while_postgres_is_down(own_postgres: PostgresServer, pool: Pool) -> None:
    await given.alive(pool, seconds=1.0)
    (claimed,) = await given.running(pool)
    await pool.execute("UPDATE waggle.workers SET last_seen = now() - interval '1 hour'")
    assert await until(lambda: lost(pool), 5) == [str(claimed.id)]
    own_postgres.restart()

    async def answers() -> bool:
        try:
            return bool(await pool.fetchval("SELECT true"))
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            return False

    await until(answers)
    assert await lost(pool) == []
    assert await leases.renew(pool, "w1", running=1, draining=False)
    await pool.execute("UPDATE waggle.workers SET last_seen = now() - interval '1 hour'")
    await primary.observe(pool)  # as a scheduler does
    await until(lambda: lost(pool), 5)


async def test_a_worker_that_is_gone_is_forgotten_after_a_while_unless_something_runs_under_it(pool: Pool) -> None:
    for name in ("live", "gone", "holding"):
        await given.alive(pool, name)
    await given.running(pool, worker_id="holding")
    await given.gone(pool, "gone")
    await given.gone(pool, "holding")
    assert await leases.delete_expired(pool, 86_400.0) == 0
    assert await leases.delete_expired(pool, 0.0) == 1
    assert {row["id"] for row in await leases.workers(pool)} == {"live", "holding"}


async def test_holdings_tell_what_runs_under_an_id_and_what_has_done_so_for_long(pool: Pool) -> None:
    await given.alive(pool)
    fresh, old = await given.running(pool, 2)
    await given.change(pool, old.id, "started_at = now() - interval '11 s'")
    found = {holding.fence.id: holding.old for holding in await leases.holdings(pool, "w1", 10.0)}
    assert found == {fresh.id: False, old.id: True}
    assert await leases.holdings(pool, "w2", 10.0) == []


async def test_two_take_backs_at_once_settle_each_task_once(pool: Pool) -> None:
    await given.alive(pool)
    await given.running(pool, 50)
    await leases.leave(pool, "w1")

    async def take_back() -> int:
        total = 0
        while True:
            async with pool.acquire() as connection, connection.transaction():
                taken = await lock_lost(connection, 7)
                if not taken:
                    return total
                total += len(await tasks.settle(connection, [(task.fence, task.step) for task in taken]))

    assert sum(await asyncio.gather(*(take_back() for _ in range(4)))) == 50
    assert await pool.fetchval("SELECT count(*) FROM waggle.task_attempts") == 50
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'pending' AND retry_count = 1") == 50
