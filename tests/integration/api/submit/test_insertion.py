"""Writing groups of submissions: what is repeated after a lost answer is ours, and a connection that does not answer is given up."""

import time

import asyncpg
import pytest

from support.given import new_task
from waggle.store.idempotency import Key
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.connections import borrowed
from waggle_api.refusals import Refusal, UsedKey
from waggle_api.submit.insertion import Accepted, Admitted, Written, insert_plain
from waggle_api.submit.keyed import insert_keyed


def submission(key: str = "", body: bytes = b"body", count: int = 2, **fields: object) -> Admitted:
    tasks = [new_task(**fields) for _ in range(count)]
    return Admitted(tasks, Key("anonymous", key, body, tuple(task.id for task in tasks)) if key else None)


async def plain(pool: "asyncpg.Pool[asyncpg.Record]", *group: Admitted) -> Written:
    async with borrowed(pool, 5) as connection:
        return await insert_plain(connection, group, True)


async def keyed(pool: "asyncpg.Pool[asyncpg.Record]", *group: Admitted) -> Written:
    async with borrowed(pool, 5) as connection:
        return await insert_keyed(connection, group, True)


def accepted(outcome: Accepted | Refusal) -> Accepted:
    assert isinstance(outcome, Accepted)
    return outcome


def ids(outcome: Accepted | Refusal) -> list[object]:
    return [task.id for task in accepted(outcome).tasks]


async def test_each_submission_of_a_group_gets_its_own_tasks_in_their_order(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    group = [submission(count=count) for count in (1, 3, 2)]
    written = await plain(pool, *group)
    assert [ids(outcome) for outcome in written.outcomes] == [[task.id for task in one.tasks] for one in group]
    assert [accepted(outcome).created for outcome in written.outcomes] == [1, 3, 2]
    assert len(written.doorbells) == 6


async def test_a_plain_group_that_is_repeated_is_ours_and_not_doubled(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    group = [submission(), submission()]
    first, second = await plain(pool, *group), await plain(pool, *group)
    assert first.outcomes == second.outcomes
    assert second.doorbells == []  # who rang, or did not, is unknown: the orphan rule knows
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks") == 4


async def test_a_keyed_group_that_is_repeated_is_ours_and_no_replay(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    group = [submission("k"), submission(unique_key="u", count=1), submission("both", unique_key="v", count=1)]
    first, second = await keyed(pool, *group), await keyed(pool, *group)
    assert first.outcomes == second.outcomes
    assert [accepted(outcome).created for outcome in second.outcomes] == [2, 1, 1]
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks") == 4


async def test_another_submission_with_the_key_is_a_replay_or_a_conflict(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await keyed(pool, original := submission("k"))
    same, other = (await keyed(pool, submission("k"), submission("k", b"other"))).outcomes
    assert ids(same) == [task.id for task in original.tasks]
    assert accepted(same).replayed
    assert isinstance(other, UsedKey)


async def test_in_a_group_the_body_that_the_key_stands_for_is_replayed_in_any_order(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await keyed(pool, original := submission("k"))
    other, same = (await keyed(pool, submission("k", b"other"), submission("k"))).outcomes
    assert isinstance(other, UsedKey)
    assert ids(same) == [task.id for task in original.tasks]


async def test_a_refused_submission_leaves_nothing_of_its_group(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    with pytest.raises(asyncpg.PostgresError):
        await keyed(pool, submission("good"), submission("bad", priority=9))
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks") == await pool.fetchval("SELECT count(*) FROM waggle.idempotency_keys") == 0


async def test_a_connection_that_does_not_answer_is_given_up_in_time(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    began = time.monotonic()
    with pytest.raises(POSTGRES_OUTAGE):
        async with borrowed(pool, 0.2) as connection, connection.transaction():
            await connection.execute("SELECT pg_sleep(5)")
    assert time.monotonic() - began < 4
    assert await pool.fetchval("SELECT 1") == 1
