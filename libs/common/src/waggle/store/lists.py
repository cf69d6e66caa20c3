"""Pages of tasks, the newest first, in a time that does not depend on how many tasks there are.

The ids of a page are found in one of two ways: tasks of a status, type or queue by the partial indexes, all others by a walk of the primary key. Either
reads a bounded number of tasks. If that does not fill a page, the page is shorter or empty, and says where to continue (docs/adr/0008).
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.store.tasks import as_task
from waggle.task import FINAL, Status, Task

PAGE_BYTES: Final = 4 << 20
EXAMINED: Final = 50_000  # tasks that a page reads: 20 to 150 ms, depending on how scattered they are
EXAMINED_METADATA: Final = 10_000  # each of them up to 64 KiB, read to its end
UNFINISHED_ENOUGH: Final = 20_000  # unfinished tasks that a page sorts; their indexes are not in the order of ids
KINDS_ENOUGH: Final = 1_000  # kinds of final tasks that a page looks up
KINDS_SHARED: Final = 10  # combinations that share the tasks that a page reads; with more, each would get too few
FIRST, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)
RESTED_FILTERS: Final = frozenset({"statuses", "types", "queue", "queues", "priority"})
LATE_SECONDS: Final = 30.0  # that a transaction of Waggle's may take from its begin to its commit, several times over
UNFINISHED: Final = frozenset({Status.PENDING, Status.RUNNING})

SLACK: Final = 60_000
"""Milliseconds: how far the time in an id may be from the task's `created`. Ids are made by the database's clock (waggle_api.submit), before the insert."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing is narrowed to; `metadata` is a JSON object that a task's metadata must contain."""

    statuses: list[str] | None = None
    types: list[str] | None = None
    queue: str | None = None
    queues: list[str] | None = None
    priority: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    metadata: str | None = None


class RestPlace(NamedTuple):
    """Where a task stands in the order in which tasks came to rest."""

    updated: datetime
    id: UUID


class FoundIds(NamedTuple):
    """Ids that fit, the newest first; all of them down to `horizon`, which is None where nothing older is left to be looked at."""

    ids: list[UUID]
    horizon: UUID | None


async def page(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", filters: Filters, before: UUID | None, most: int
) -> tuple[list[Task], UUID | None]:
    """Up to `most` tasks with ids before `before`, without payloads, and the id before which the list goes on, if it does.

    The statements are planned for these filters, because a plan for any filters is slow for all of them. They are planned for the fewest rows: by the
    costs of pages, or by old statistics, Postgres walks past a burst of newer tasks to a few old ones (docs/adr/0008). All statements see one snapshot, so
    that no page has a gap.
    """
    asked = msgspec.structs.asdict(filters)
    upto = LAST if filters.created_to is None else _earliest_id(filters.created_to, SLACK)
    since = FIRST if filters.created_from is None else _earliest_id(filters.created_from, -SLACK)
    examine = EXAMINED if filters.metadata is None else EXAMINED_METADATA
    asked |= {"before": min(before or LAST, upto), "since": since, "most": most, "examine": examine}
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL seq_page_cost = 0; SET LOCAL random_page_cost = 0")
        found = await _by_index(connection, asked) if filters.statuses or filters.types or filters.queue or filters.queues else None
        if found is None:
            found = await _walk(connection, asked)
        rows = await statement("lists/page").fetch(connection, ids=found.ids[:most], bytes=PAGE_BYTES)
    return [as_task(row) for row in rows], rows[-1]["id"] if len(rows) < len(found.ids) else found.horizon


class RestedPage(NamedTuple):
    """Tasks in the order in which they came to rest, and the place to go on from; `more`: the list did not end here."""

    tasks: list[Task]
    place: RestPlace
    more: bool


async def rested(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", filters: Filters, after: RestPlace, most: int) -> RestedPage:
    """Up to `most` tasks that came to rest after a place, without payloads.

    A commit may become visible after one with a later time. So at the end of the list the place is LATE_SECONDS ago at the latest: what came to rest since
    is listed again by whoever goes on from it.
    """
    asked = {name: value for name, value in msgspec.structs.asdict(filters).items() if name in RESTED_FILTERS}
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL seq_page_cost = 0; SET LOCAL random_page_cost = 0")
        row = await _row(connection, "lists/rested", after=after.updated, after_id=after.id, examine=EXAMINED, most=most, **asked)
        found = {task["id"]: task for task in await statement("lists/page").fetch(connection, ids=row["ids"], bytes=PAGE_BYTES)}
    tasks = [as_task(found[task_id]) for task_id in row["ids"] if task_id in found]
    cut = len(tasks) < row["found"] or row["found"] == most
    if cut and tasks:
        last = tasks[-1]
        place, more = RestPlace(last.completed_at or last.updated, last.id), True
    elif row["seen"]:
        place, more = RestPlace(row["last_at"], row["last_id"]), row["seen"] == EXAMINED
    else:
        place, more = after, False
    return RestedPage(tasks, place if more else min(place, RestPlace(row["now"] - timedelta(seconds=LATE_SECONDS), FIRST)), more)


async def _walk(connection: Connection, asked: dict[str, Any], only: Status | None = None) -> FoundIds:
    return FoundIds(*await _row(connection, "lists/walk", only=only, **asked))


async def _by_index(connection: Connection, asked: dict[str, Any]) -> FoundIds | None:
    """None when there are too many unfinished tasks, or too many kinds of final ones."""
    statuses = set(asked["statuses"] or Status)
    parts = []
    for find, among in ((_unfinished, UNFINISHED), (_final, FINAL), (_dead, {Status.DEAD_LETTER})):
        if chosen := sorted(statuses & among):
            part = await find(connection, asked | {"statuses": chosen})
            if part is None:
                return None
            parts.append(part)
    horizon = max((part.horizon for part in parts if part.horizon), default=None)
    ids = sorted((found for part in parts for found in part.ids if horizon is None or found >= horizon), reverse=True)
    return FoundIds(ids[: asked["most"] + 1], horizon)


async def _unfinished(connection: Connection, asked: dict[str, Any]) -> FoundIds | None:
    del asked["examine"]
    count, ids = await _row(connection, "lists/unfinished", enough=UNFINISHED_ENOUGH, **asked)
    return FoundIds(ids, None) if count <= UNFINISHED_ENOUGH else None


async def _final(connection: Connection, asked: dict[str, Any]) -> FoundIds | None:
    filters = {name: asked.pop(name) for name in ("statuses", "types", "queue", "queues")}
    others = asked["priority"] is not None or asked["metadata"] is not None
    count, types, queues, statuses = await _row(connection, "lists/kinds", enough=KINDS_ENOUGH, **filters)
    if not types and count <= KINDS_ENOUGH:
        return FoundIds([], None)
    if count > KINDS_ENOUGH or (others and len(types) > KINDS_SHARED):
        return None
    asked |= {"types": types, "queues": queues, "statuses": statuses, "examine": max(asked["examine"] // len(types), 1)}
    return FoundIds(*await _row(connection, "lists/final", **asked))


async def _dead(connection: Connection, asked: dict[str, Any]) -> FoundIds:
    return await _walk(connection, asked, only=Status.DEAD_LETTER)


async def _row(connection: Connection, name: str, **values: Any) -> asyncpg.Record:
    row = await statement(name).fetchrow(connection, **values)
    assert row is not None
    return row


def _earliest_id(moment: datetime, later: int) -> UUID:
    """The first UUIDv7 of a millisecond (RFC 9562, section 5.7) plus `later` milliseconds."""
    return UUID(int=max(int(moment.timestamp() * 1000) + later, 0) << 80)
