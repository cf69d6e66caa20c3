"""Undoes what the loss of a lease has cost when its worker's process lived, and was only cut off from Postgres: it did not die of one of its tasks."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg

from waggle.store import dead_letters, leases, tasks
from waggle.task import AttemptOutcome, Fence, Snoozed, Tries, decide

GIVE_BACK: Final = decide(Snoozed(0.0, AttemptOutcome.GIVEN_BACK), Tries(0, 0))
RETRIED_BY: Final = "a worker that was cut off"


class Undone(NamedTuple):
    """How many tasks went back before they were taken back, and how many were not charged after all; dead letters of it that run again are among these."""

    given_back: int
    uncharged: int
    dead_letters: int


async def undo(pool: "asyncpg.Pool[asyncpg.Record]", stopped: Sequence[Fence], ended: Sequence[Fence], worker_id: str) -> Undone:
    """`stopped`: attempts under this id whose handlers were stopped; `ended`: those whose outcome may have come too late.

    Safe to repeat. Raises UniqueViolationError when a task takes the unique key of such a dead letter at this moment, and what asyncpg raises.
    """
    async with pool.acquire() as connection, connection.transaction():
        given_back = await tasks.settle(connection, [(fence, GIVE_BACK) for fence in stopped]) if stopped else set()
        lost = sorted((fence for fence in [*stopped, *ended] if (fence.id, fence.attempt) not in given_back), key=lambda fence: fence.id)
        dead = await leases.died_of(connection, lost, worker_id)
        revived = (await dead_letters.retry(connection, dead, how="manual", retried_by=RETRIED_BY)).retried if dead else []
        return Undone(len(given_back), await leases.uncharge(connection, lost, worker_id), len(revived))
