"""Worker leases: a heartbeat row each. A worker id names one lease, is fresh at each start and never renewed once expired."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.task import Fence, Lost, Step, Tries, decide


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it registers; `seconds` is how long it is considered alive after a heartbeat. `versions` are those of its types, in their order."""

    id: str
    host: str
    pid: int
    version: str
    seconds: float
    concurrency: int
    queues: list[str]
    types: list[str]
    versions: list[str] = []
    doorbell_ids: int = 1


class Holding(NamedTuple):
    """A row that runs under a worker's id; `old` when it does so for longer than a claim may take."""

    fence: Fence
    old: bool


class LostTask(NamedTuple):
    """A running task whose worker is gone, and where it goes."""

    fence: Fence
    type: str
    step: Step
    queue: str


async def register(connection: Connection, lease: LeaseRow) -> None:
    await statement("leases/register").execute(
        connection,
        id=lease.id,
        host=lease.host,
        pid=lease.pid,
        version=lease.version,
        lease=lease.seconds,
        concurrency=lease.concurrency,
        queues=lease.queues,
        types=lease.types,
        versions=lease.versions,
        doorbell_ids=lease.doorbell_ids,
    )


async def doorbell_ids(connection: Connection, most: int) -> int:
    """How many tasks of one doorbell every live worker can read, at most `most`."""
    return int(await statement("leases/doorbell_ids").fetchval(connection, most=most))


async def renew(connection: Connection, worker_id: str, *, running: int, draining: bool) -> bool:
    """False when the lease had expired: cancel all handlers and go on under a new id."""
    return await statement("leases/renew").fetchval(connection, id=worker_id, running=running, draining=draining) is not None


async def leave(connection: Connection, worker_id: str) -> None:
    """End a lease. What still runs under it is lost at once."""
    await statement("leases/leave").execute(connection, id=worker_id)


async def end(connection: Connection, token: str) -> list[str]:
    """End the leases that a dead process took under this token; returns their ids."""
    return [row["id"] for row in await statement("leases/end").fetch(connection, token=token)]


async def holdings(connection: Connection, worker_id: str, old: float) -> list[Holding]:
    """What the database says runs under this id."""
    rows = await statement("tasks/running_under").fetch(connection, worker_id=worker_id, old=old)
    return [Holding(Fence(row["id"], row["attempt"], row["worker_id"], row["started_at"]), row["old"]) for row in rows]


async def standing(connection: Connection) -> dict[str, bool]:
    """Whether its lease is live, for each worker that is known."""
    return {row["id"]: row["alive"] for row in await statement("leases/standing").fetch(connection)}


async def without_live(connection: Connection, *, judging: bool = True) -> list[str]:
    """The workers without a live lease under which tasks run; without `judging` only those whose lease was ended."""
    return [row["worker_id"] for row in await statement("leases/without_live").fetch(connection, judging=judging)]


async def lock_lost(connection: Connection, worker_ids: Collection[str], most: int, *, judging: bool = True) -> list[LostTask]:
    """Lock up to `most` lost tasks of these workers for the rest of the transaction, in which the caller settles them. `judging` as above."""
    rows = await statement("tasks/lock_lost").fetch(connection, worker_ids=list(worker_ids), most=most, judging=judging)
    return [
        LostTask(
            Fence(row["id"], row["attempt"], row["worker_id"] or "", row["started_at"]),
            row["type"],
            decide(Lost(), Tries(row["retry_count"], row["max_retries"], row["dead_letter"])),
            row["queue"],
        )
        for row in rows
    ]


async def died_of(connection: Connection, fences: Sequence[Fence], worker_id: str) -> list[UUID]:
    """The dead letters whose last attempt is one of these, lost under this id."""
    rows = await statement("leases/died_of").fetch(
        connection, ids=[fence.id for fence in fences], attempts=[fence.attempt for fence in fences], worker_id=worker_id
    )
    return [row["id"] for row in rows]


async def claimed_under(connection: Connection, ids: Sequence[UUID], worker_id: str) -> list[Fence]:
    """The attempts of these tasks under this id that run, or were lost: what a claim without an answer has claimed."""
    return [Fence(*row) for row in await statement("leases/claimed_under").fetch(connection, ids=ids, worker_id=worker_id)]


async def uncharge(connection: Connection, fences: Sequence[Fence], worker_id: str, revived: Sequence[UUID] = ()) -> int:
    """Undo the charge for those of these attempts that were lost under this id, of tasks that wait or run; returns of how many. Safe to repeat.

    `revived`: dead letters of such a loss that the same transaction made pending. They have the one try left that they had.
    """
    ids, attempts = [fence.id for fence in fences], [fence.attempt for fence in fences]
    return await statement("leases/uncharge").execute(connection, ids=ids, attempts=attempts, worker_id=worker_id, revived=list(revived))


async def delete_expired(connection: Connection, keep: float) -> int:
    """Delete the rows of workers that have been gone for `keep` seconds; returns how many."""
    return await statement("leases/delete_expired").execute(connection, keep=keep)


async def workers(connection: Connection) -> Sequence[asyncpg.Record]:
    """Every known worker: id, host, pid, version, started_at, last_seen, lease, concurrency, queues, types, running, draining, alive."""
    return await statement("leases/list").fetch(connection)
