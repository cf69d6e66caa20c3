"""Undoes what the loss of a lease has cost when its worker's process lived, and was only cut off from Postgres: it did not die of one of its tasks."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from waggle.store import dead_letters, leases, tasks
from waggle.store.client import PooledConnection
from waggle.task import AttemptOutcome, Fence, Snoozed, Tries, decide

GIVE_BACK: Final = decide(Snoozed(0.0, AttemptOutcome.GIVEN_BACK), Tries(0, 0))
RETRIED_BY: Final = "a worker that was cut off"


class Undone(NamedTuple):
    """How many tasks went back before they were taken back, and how many were not charged after all.

    Dead letters of it that run again are among the latter; others are left, because another task has their unique key or their deadline has passed.
    """

    given_back: int = 0
    uncharged: int = 0
    dead_letters: int = 0
    dead_letters_left: int = 0


async def undo(
    pool: "asyncpg.Pool[asyncpg.Record]", stopped: Sequence[Fence], ended: Sequence[Fence], worker_id: str, unanswered: Iterable[UUID] = ()
) -> Undone:
    """`stopped`: attempts under this id whose handlers were stopped; `ended`: those whose outcome may have come too late; `unanswered`: tasks whose claim
    had no answer, so that none of its attempts started.

    Safe to repeat. Raises what asyncpg raises.
    """
    async with pool.acquire() as connection, connection.transaction():
        unstarted = sorted({*unanswered} - {fence.id for fence in (*stopped, *ended)})
        stopped = [*stopped, *(await leases.claimed_under(connection, unstarted, worker_id) if unstarted else ())]
        given_back = await tasks.settle(connection, [(fence, GIVE_BACK) for fence in stopped]) if stopped else set()
        lost = sorted((fence for fence in [*stopped, *ended] if (fence.id, fence.attempt) not in given_back), key=lambda fence: fence.id)
        dead = await leases.died_of(connection, lost, worker_id)
        revived = await _revive(connection, dead) if dead else []
        uncharged = await leases.uncharge(connection, lost, worker_id, revived)
        return Undone(len(given_back), uncharged, len(revived), len(dead) - len(revived))


async def _revive(connection: PooledConnection, dead: list[UUID]) -> list[UUID]:
    """Those of these dead letters that run again: none when another task takes the unique key of one at this moment."""
    try:
        async with connection.transaction():
            return [task.id for task in (await dead_letters.retry(connection, dead, how="manual", retried_by=RETRIED_BY)).retried]
    except asyncpg.UniqueViolationError:
        return []
