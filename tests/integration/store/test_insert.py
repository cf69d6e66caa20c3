"""Inserting tasks: repeatable with the same ids, rung or left to the scheduler."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from support import given
from waggle.store import idempotency, tasks
from waggle.store.idempotency import Key
from waggle.store.postgres import REFUSED

Pool = asyncpg.Pool


async def test_a_repeated_insert_changes_nothing_and_returns_nothing(pool: Pool) -> None:
    task = given.new_task(description="first")
    assert len(await tasks.insert(pool, [task], ring=True)) == 1
    assert await tasks.insert(pool, [msgspec.structs.replace(task, description="second")], ring=True) == []
    assert (await given.row(pool, task.id))["description"] == "first"


async def test_a_batch_with_some_known_ids_inserts_the_others(pool: Pool) -> None:
    known, new = given.new_task(), given.new_task()
    await tasks.insert(pool, [known], ring=True)
    assert [row.id for row in await tasks.insert(pool, [known, new], ring=True)] == [new.id]


async def test_a_due_task_that_its_caller_will_ring_is_marked_as_rung_in_the_same_commit(pool: Pool) -> None:
    (inserted,) = await tasks.insert(pool, [given.new_task()], ring=True)
    assert inserted.rung_at is not None
    assert inserted.rung_at == inserted.run_at == inserted.created


@pytest.mark.parametrize("later", [{"delay": 60.0}, {"run_at": datetime.now(UTC) + timedelta(hours=1)}])
async def test_a_task_for_later_is_not_rung(pool: Pool, later: dict[str, object]) -> None:
    (inserted,) = await tasks.insert(pool, [given.new_task(**later)], ring=True)
    assert inserted.rung_at is None
    assert inserted.run_at > inserted.created


async def test_run_at_wins_over_a_delay(pool: Pool) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    (inserted,) = await tasks.insert(pool, [given.new_task(run_at=moment, delay=5.0)], ring=True)
    assert inserted.run_at == moment


@pytest.mark.parametrize(
    "given_values",
    [
        {},
        {"delay": 60.0},
        {"run_at": datetime(2030, 1, 1, tzinfo=UTC), "delay": 5.0, "deadline": datetime(2031, 1, 1, tzinfo=UTC)},
        {"run_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"queue": "q", "priority": 3, "description": "é", "payload": '{"b": 1e131071, "a": 1.10}', "metadata": '{"a": [1]}', "max_retries": 0},
        {"timeout": 0.5, "unique_key": "k", "submitter": "ada", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    ],
)
@pytest.mark.parametrize("ring", [True, False])
async def test_a_task_inserted_alone_is_as_one_of_a_batch(pool: Pool, ring: bool, given_values: dict[str, Any]) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()  # one transaction has one time
        await transaction.start()
        alone = await tasks.insert(connection, [given.new_task(**given_values)], ring=ring)
        together = await tasks.insert(connection, [given.new_task(**{**given_values, "type": "other.type"}), given.new_task()], ring=ring)
        one, other = [await given.row(connection, row.id) for row in (alone[0], together[0])]
        await transaction.rollback()
    assert {**one, "id": None, "type": None} == {**other, "id": None, "type": None}
    assert alone[0][1:] == together[0][1:]


async def test_a_unique_key_is_held_by_one_unfinished_task_of_its_type(pool: Pool) -> None:
    first, second = given.new_task(unique_key="invoice 7"), given.new_task(unique_key="invoice 7")
    elsewhere = given.new_task(type="other.type", unique_key="invoice 7")
    inserted = await tasks.insert(pool, [first], ring=True)
    inserted += await tasks.insert(pool, [second, elsewhere], ring=True)
    assert [row.id for row in inserted] == [first.id, elsewhere.id]
    assert await idempotency.unique_holders(pool, [("demo.echo", "invoice 7"), ("demo.echo", "nobody")]) == {("demo.echo", "invoice 7"): first.id}


async def test_a_unique_key_is_free_again_once_its_task_has_ended(pool: Pool) -> None:
    first, second = given.new_task(unique_key="k"), given.new_task(unique_key="k")
    await tasks.insert(pool, [first], ring=True)
    await tasks.cancel(pool, first.id)
    assert [row.id for row in await tasks.insert(pool, [second], ring=True)] == [second.id]


async def test_ten_batches_with_the_same_unique_keys_in_any_order_leave_one_task_for_each(pool: Pool) -> None:
    keys = [f"key {n}" for n in range(20)]

    async def batch(turn: int) -> int:
        mine = keys[turn:] + keys[:turn]
        for _ in range(5):
            try:
                return len(await tasks.insert(pool, [given.new_task(unique_key=key) for key in sorted(mine)], ring=True))
            except asyncpg.DeadlockDetectedError:
                continue
        raise AssertionError("five deadlocks in a row")

    assert sum(await asyncio.gather(*(batch(turn) for turn in range(10)))) == len(keys)


@pytest.mark.parametrize("payload", ["{", '{"a":"\\u0000"'])
async def test_what_postgres_will_not_store_is_refused_and_nothing_is_inserted(pool: Pool, payload: str) -> None:
    good, bad = given.new_task(), given.new_task(payload=payload)
    with pytest.raises(REFUSED):
        await tasks.insert(pool, [good, bad], ring=True)
    assert await tasks.get_many(pool, [good.id, bad.id]) == {}


async def test_a_payload_is_kept_as_it_was_sent(pool: Pool) -> None:
    sent = '{"b": 1e131071, "a": 1.10, "b": 2}'
    (task_id,) = await given.waiting(pool, payload=sent)
    found = await tasks.get(pool, task_id)
    assert found is not None
    assert found.payload is not None
    assert bytes(found.payload).decode() == sent


async def test_an_idempotency_key_is_taken_once(pool: Pool) -> None:
    first = Key("ada", "order 1", b"hash", (given.new_task().id, given.new_task().id))
    assert await idempotency.take(pool, [first]) == {("ada", "order 1")}
    assert await idempotency.take(pool, [first._replace(body_hash=b"other")]) == set()
    assert await idempotency.find(pool, [first]) == {("ada", "order 1"): first}


async def test_the_same_key_of_another_submitter_is_another_key(pool: Pool) -> None:
    mine, theirs = Key("ada", "k", b"1", (given.new_task().id,)), Key("bob", "k", b"2", (given.new_task().id,))
    assert await idempotency.take(pool, [mine, theirs]) == {("ada", "k"), ("bob", "k")}
    assert (await idempotency.find(pool, [theirs]))["bob", "k"] == theirs


async def test_a_key_can_be_pointed_at_the_task_that_held_the_unique_key(pool: Pool) -> None:
    (existing,) = await given.waiting(pool, unique_key="k")
    key = Key("ada", "k", b"1", (given.new_task().id,))
    await idempotency.take(pool, [key])
    await idempotency.point(pool, [key._replace(task_ids=(existing,))])
    assert (await idempotency.find(pool, [key]))["ada", "k"].task_ids == (existing,)


async def test_batches_that_take_the_same_keys_in_opposite_orders_do_not_wait_for_each_other(pool: Pool) -> None:
    keys = [Key("ada", f"{n:03}", b"1", (given.new_task().id,)) for n in range(200)]
    taken = await asyncio.gather(*(idempotency.take(pool, order) for order in (keys, keys[::-1]) * 5))
    assert sorted(name for each in taken for name in each) == [("ada", f"{n:03}") for n in range(200)]
