"""The dead letter queue in Postgres: read it, group it, retry and remove. The caller owns the transaction where a function says so."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle.redrive import DeadLetterFilter
from waggle.store.client import Connection, SingleConnection
from waggle.store.sql import statement
from waggle.store.tasks import as_task
from waggle.task import Object, Task

AUTOMATIC_CAP: Final = 86_400.0  # seconds; the longest wait for an automatic retry


class DeadLetter(Task, frozen=True, omit_defaults=True, kw_only=True):
    """A dead letter with its payload, and the payload that it was created with when a retry replaced it."""

    original_payload: Object | None = None


class DeadLetterGroup(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Dead letters that died of the same: `message` with its numbers, ids and quoted words replaced; `example` is the id of its newest task."""

    fingerprint: str
    type: str
    code: str | None = None
    error_class: str | None = None
    message: str | None = None
    count: int
    first: datetime
    last: datetime
    example: UUID
    hidden: list[str] | None = None


class Moved(NamedTuple):
    """A task that was a dead letter and is none any more; `code` is that of its last error."""

    id: UUID
    type: str
    queue: str
    attempt: int
    code: str | None


def moved(row: asyncpg.Record) -> Moved:
    return Moved(row["id"], row["type"], row["queue"], row["attempt"], row["code"])


class Retried(NamedTuple):
    """What became of dead letters that were to be retried: now pending, and those left where they are, with their obstacle."""

    retried: list[Moved]
    obstacles: dict[UUID, str]  # "deadline": it passed; "unique_key": another task has it


async def plan_for_values(connection: SingleConnection) -> None:
    """For the rest of this transaction: a plan for any filter is slow for all."""
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")


def values(wanted: DeadLetterFilter, at: datetime) -> dict[str, Any]:
    """A filter as parameters of the statements; ages count back from `at`."""
    return {
        "ids": wanted.ids,
        "types": wanted.type,
        "queue": wanted.queue,
        "codes": wanted.code,
        "part": wanted.text,
        "fingerprint": wanted.fingerprint,
        "died_after": None if wanted.newer_than is None else before(at, wanted.newer_than),
        "died_before": None if wanted.older_than is None else before(at, wanted.older_than),
    }


async def page(
    connection: SingleConnection, wanted: DeadLetterFilter, after: tuple[datetime, UUID] | None, most: int, queues: list[str] | None = None
) -> tuple[list[Task], bool]:
    """The `most` that died last before the place `after` (updated, id), without payloads, and whether more follow.

    With `queues`, only of those.
    """
    place, place_id = after or (None, None)
    async with connection.transaction(readonly=True):
        await plan_for_values(connection)
        given = values(wanted, await now(connection))
        rows = await statement("dead_letters/list").fetch(connection, before=place, before_id=place_id, most=most, queues=queues, **given)
    return [as_task(row) for row in rows[:most]], len(rows) > most


async def groups(connection: SingleConnection, wanted: DeadLetterFilter, most: int, queues: list[str] | None = None) -> list[DeadLetterGroup]:
    """The `most` largest groups of dead letters; with `queues`, only of those."""
    async with connection.transaction(readonly=True):
        await plan_for_values(connection)
        rows = await statement("dead_letters/groups").fetch(connection, most=most, queues=queues, **values(wanted, await now(connection)))
    return [DeadLetterGroup(**row) for row in rows]


async def count(connection: SingleConnection, wanted: DeadLetterFilter) -> int:
    """How many match, in a transaction of the caller."""
    await plan_for_values(connection)
    return int(await statement("dead_letters/count").fetchval(connection, **values(wanted, await now(connection))))


async def get(connection: Connection, task_id: UUID) -> DeadLetter | None:
    """A task, whatever its status, with its payload and its original payload."""
    row = await statement("dead_letters/get").fetchrow(connection, id=task_id)
    if row is None:
        return None
    original = row["original_payload"]
    return DeadLetter(**msgspec.structs.asdict(as_task(row)), original_payload=None if original is None else msgspec.Raw(original))


async def retry(
    connection: Connection, ids: list[UUID], *, how: str, retried_by: str | None = None, redrive_id: UUID | None = None, payloads: list[str] | None = None
) -> Retried:
    """Make dead letters pending; what is in neither list is no dead letter. `payloads` (JSON texts, one for each id) replace
    the old ones, which are kept.

    Raises UniqueViolationError when another task takes a unique key at the same moment. Then nothing changed; repeat the call.
    """
    rows = await statement("dead_letters/retry").fetch(connection, ids=ids, how=how, retried_by=retried_by, redrive_id=redrive_id, payloads=payloads)
    obstacles = {row["id"]: row["obstacle"] for row in rows if row["obstacle"] is not None}
    return Retried([moved(row) for row in rows if row["id"] not in obstacles], obstacles)


class Stored(NamedTuple):
    """A payload as it is stored, and its task's type."""

    type: str
    payload: str


async def payloads(connection: Connection, ids: list[UUID]) -> dict[UUID, Stored]:
    rows = await statement("dead_letters/payloads").fetch(connection, ids=ids)
    return {row["id"]: Stored(row["type"], row["payload"]) for row in rows}


async def oldest(connection: SingleConnection, wanted: DeadLetterFilter, most: int) -> list[UUID]:
    """The ids of the `most` that match and that a redrive takes first, in a transaction of the caller."""
    await plan_for_values(connection)
    rows = await statement("dead_letters/oldest").fetch(connection, most=most, **values(wanted, await now(connection)))
    return [row["id"] for row in rows]


async def remove(connection: Connection, task_id: UUID) -> bool:
    """Make a dead letter failed; False if the task is not a dead letter."""
    return await statement("dead_letters/remove").fetchval(connection, id=task_id) is not None


async def remove_expired(connection: Connection, keep: float, most: int) -> list[Moved]:
    """Dead letters older than `keep` seconds become failed."""
    return [moved(row) for row in await statement("dead_letters/remove_expired").fetch(connection, keep=keep, most=most)]


async def remove_excess(connection: Connection, max_size: int, most: int) -> list[Moved]:
    """The oldest dead letters over `max_size` become failed."""
    return [moved(row) for row in await statement("dead_letters/remove_excess").fetch(connection, max_size=max_size, most=most)]


async def lock_retryable(connection: Connection, *, retries: int, backoff: float, since: datetime, most: int) -> list[UUID]:
    """Lock what is due for an automatic retry, of what died after `since`; `backoff` is in seconds. In a transaction of the caller."""
    rows = await statement("dead_letters/lock_retryable").fetch(connection, retries=retries, backoff=backoff, cap=AUTOMATIC_CAP, since=since, most=most)
    return [row["id"] for row in rows]


async def add_fingerprints(connection: Connection, after: tuple[datetime, UUID], most: int) -> tuple[datetime, UUID] | None:
    """Give dead letters the fingerprint that they lack, among the next `most` behind the place `after` (updated, id); how far this came, None at the end."""
    row = await statement("dead_letters/add_fingerprints").fetchrow(connection, reached=after[0], reached_id=after[1], most=most)
    return None if row is None else (row["updated"], row["id"])


async def delete_expired_retries(connection: Connection, after: UUID, most: int) -> UUID | None:
    """Delete the retries of tasks that are gone, among the next `most`; returns how far it came, None at the end."""
    row = await statement("dead_letters/delete_expired_retries").fetchrow(connection, after=after, most=most)
    assert row is not None
    reached: UUID | None = row["reached"]
    return reached if row["seen"] == most else None


async def now(connection: Connection) -> datetime:
    """The database's clock."""
    found: datetime = await connection.fetchval("SELECT now()")
    return found


def before(at: datetime, seconds: float) -> datetime:
    """`seconds` earlier, but not earlier than both Postgres and Python can represent."""
    return datetime.fromtimestamp(max(at.timestamp() - seconds, 0.0), at.tzinfo)
