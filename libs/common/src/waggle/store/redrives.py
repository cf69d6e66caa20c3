"""Redrives in Postgres: durable bulk retries that any dlq service continues, one step at a time, each step one transaction."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle.payload_changes import PayloadChanges, Unfit
from waggle.redrive import DeadLetterFilter, Progress, Recent, Redrive
from waggle.store import dead_letters
from waggle.store.client import Connection, SingleConnection
from waggle.store.dead_letters import Retried
from waggle.store.sql import statement

CHANGED_AT_ONCE: Final = 25  # payloads in memory, of up to 1 MiB each
FIRST_UNFIT: Final = 10  # that are shown


class Due(NamedTuple):
    """A redrive that this transaction has locked for its next step."""

    id: UUID
    state: str
    filter: DeadLetterFilter
    created: datetime
    reached: tuple[datetime, UUID] | None
    submitted_by: str
    now: datetime
    ended_at: datetime | None
    changes: PayloadChanges | None
    unfit: int  # so far
    progress: Progress  # without the outcomes that were not counted yet


class ChangedPayloads(NamedTuple):
    """Changed payloads that fit, and the tasks whose do not."""

    texts: dict[UUID, str]
    unfit: list[Unfit]


Change = Callable[[SingleConnection, list[UUID]], Awaitable[ChangedPayloads]]
"""Reads the payloads of these tasks, changes and checks them."""


class RedriveBatch(NamedTuple):
    """What a step let go: how it went, where the walk stands, whether it came to the end, and what does not fit after its changes."""

    revival: Retried
    reached: tuple[datetime, UUID] | None
    is_last: bool
    unfit: list[Unfit]


class Outcomes(NamedTuple):
    """First attempts whose end was seen now, those of them that failed, and tasks without an outcome."""

    open: int
    ended: int
    failed: int


async def begin(
    connection: SingleConnection,
    redrive_id: UUID,
    wanted: DeadLetterFilter,
    *,
    rate: float,
    limit: int | None,
    submitted_by: str,
    changes: PayloadChanges | None = None,
) -> None:
    """A new redrive; a repeated one is left as it is."""
    async with connection.transaction():
        matched = await dead_letters.count(connection, wanted)
        await statement("redrives/begin").execute(
            connection,
            id=redrive_id,
            filter=msgspec.json.encode(wanted).decode(),
            rate=rate,
            most=limit,
            matched=matched,
            submitted_by=submitted_by,
            changes=None if changes is None else msgspec.json.encode(changes).decode(),
        )


async def get(connection: Connection, redrive_id: UUID) -> Redrive | None:
    row = await statement("redrives/get").fetchrow(connection, id=redrive_id)
    return None if row is None else _shown(row)


async def page(connection: Connection, before: UUID | None, most: int) -> tuple[list[Redrive], bool]:
    """The newest `most` redrives older than `before`, and whether more follow."""
    rows = await statement("redrives/list").fetch(connection, before=before, most=most)
    return [_shown(row) for row in rows[:most]], len(rows) > most


async def cancel(connection: Connection, redrive_id: UUID, reason: str) -> bool:
    """Stop a running redrive; False when it does not run. Waits for a step that is under way."""
    return await statement("redrives/cancel").fetchval(connection, id=redrive_id, reason=reason) is not None


async def lock_due(connection: SingleConnection) -> Due | None:
    """The redrive whose step has waited longest, locked until the end of the caller's transaction."""
    row = await statement("redrives/lock_due").fetchrow(connection)
    if row is None:
        return None
    now = await dead_letters.now(connection)
    waited = None if row["portion_at"] is None else (now - row["portion_at"]).total_seconds()
    recent = Recent(row["recent_ended"], row["recent_failed"])
    return Due(
        id=row["id"],
        state=row["state"],
        filter=msgspec.json.decode(row["filter"], type=DeadLetterFilter),
        created=row["created"],
        reached=None if row["reached_id"] is None else (row["reached_updated"], row["reached_id"]),
        submitted_by=row["submitted_by"],
        now=now,
        ended_at=row["ended_at"],
        changes=_changes(row["changes"]),
        unfit=row["unfit"],
        progress=Progress(row["rate"], row["most"], row["retried"], row["ended"], 0, recent, waited),
    )


async def seconds_to_next(connection: Connection) -> float | None:
    """Seconds until the next step of any redrive, negative when it is overdue; None without one."""
    found: float | None = await statement("redrives/next").fetchval(connection)
    return found


async def note_outcomes(connection: Connection, redrive_id: UUID) -> Outcomes:
    row = await statement("redrives/note_outcomes").fetchrow(connection, id=redrive_id)
    assert row is not None
    return Outcomes(*row)


async def retry_batch(connection: SingleConnection, due: Due, most: int, change: Change | None = None) -> RedriveBatch:
    """Retry the next `most` dead letters of a redrive; with `change`, with the payloads that it gives."""
    place, place_id = due.reached or (None, None)
    await dead_letters.plan_for_values(connection)
    given = dead_letters.values(due.filter, due.created)
    rows = await statement("redrives/lock_batch").fetch(connection, created=due.created, reached=place, reached_id=place_id, most=most, **given)
    ids = [row["id"] for row in rows]
    reached = (rows[-1]["updated"], rows[-1]["id"]) if rows else None
    retry = partial(dead_letters.retry, connection, how="redrive", retried_by=due.submitted_by, redrive_id=due.id)
    if change is None:
        return RedriveBatch(await retry(ids) if ids else Retried([], {}), reached, len(rows) < most, [])
    revival, unfit = Retried([], {}), []
    for at in range(0, len(ids), CHANGED_AT_ONCE):
        changed = await change(connection, ids[at : at + CHANGED_AT_ONCE])
        found = await retry([*changed.texts], payloads=[*changed.texts.values()])
        revival = Retried(revival.retried + found.retried, revival.obstacles | found.obstacles)
        unfit += changed.unfit
    return RedriveBatch(revival, reached, len(rows) < most, unfit)


async def advance(
    connection: Connection, due: Due, *, state: str, outcomes: Outcomes, portion: RedriveBatch, recent: Recent, reason: str | None, seconds: float | None
) -> None:
    """Write what a step did; the next step is due after `seconds`, or never."""
    reached, reached_id = portion.reached or (None, None)
    first_unfit = portion.unfit[: max(0, FIRST_UNFIT - due.unfit)]
    await statement("redrives/advance").execute(
        connection,
        id=due.id,
        state=state,
        retried=len(portion.revival.retried),
        skipped=len(portion.revival.obstacles),
        unfit=len(portion.unfit),
        first_unfit=msgspec.json.encode(first_unfit).decode() if first_unfit else None,
        ended=outcomes.ended,
        failed=outcomes.failed,
        recent_ended=recent.ended,
        recent_failed=recent.failed,
        reason=reason,
        reached=reached,
        reached_id=reached_id,
        seconds=seconds,
    )


async def postpone(connection: Connection, redrive_id: UUID, seconds: float) -> None:
    """Let a step that is due come so much later."""
    await statement("redrives/postpone").execute(connection, id=redrive_id, seconds=seconds)


async def delete_expired(connection: Connection, keep: float) -> None:
    """Delete redrives that ended more than `keep` seconds ago."""
    await statement("redrives/delete_expired").execute(connection, keep=keep)


def _shown(row: asyncpg.Record) -> Redrive:
    fields: dict[str, Any] = dict(row)
    limit, wanted = fields.pop("most"), msgspec.json.decode(fields.pop("filter"), type=DeadLetterFilter)
    changes, unfit = _changes(fields.pop("changes")), fields.pop("first_unfit")
    first_unfit = None if unfit is None else msgspec.json.decode(unfit, type=list[Unfit])
    return Redrive(**fields, limit=limit, filter=wanted, changes=changes, first_unfit=first_unfit)


def _changes(text: str | None) -> PayloadChanges | None:
    return None if text is None else msgspec.json.decode(text, type=PayloadChanges)
