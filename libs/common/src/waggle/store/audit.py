"""What `waggle audit` asks Postgres: which tasks break a condition that holds at rest. It only reads; each function is one statement.

A grace, in seconds, leaves out what the loops would put right at any moment.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from waggle.errors import ErrorCode, TaskError
from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.store.tasks import as_text

FIRST: Final = UUID(int=0)
NO_ERROR: Final = TaskError(ErrorCode.INTERNAL_ERROR, "the row was written by SQL, without an error", retryable=False)
SLACK: Final = 15.0  # seconds by which two times may be out of order: for so long a statement can have waited


class AuditStep(NamedTuple):
    """One step through all tasks: how far it came, how many it saw, and those whose columns, or whose attempts, do not fit."""

    reached: UUID | None
    seen: int
    rows: list[UUID]
    timelines: list[UUID]


async def walk(connection: Connection, after: UUID, most: int) -> AuditStep:
    """The next `most` tasks after this id; the last step is one that sees fewer."""
    row = await statement("audit/walk").fetchrow(connection, after=after, most=most, slack=SLACK)
    assert row is not None
    return AuditStep(*row)


async def correct(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Correct rows that were written by SQL, so that their tasks go on: what was changed, for each that was not right."""
    return {row["id"]: row["changes"] for row in await statement("audit/correct_rows").fetch(connection, ids=ids, error=as_text(NO_ERROR))}


async def unrung(connection: Connection, grace: float, most: int) -> list[UUID]:
    """Tasks that have been due for longer than the grace period without a doorbell."""
    return [row["id"] for row in await statement("audit/unrung").fetch(connection, grace=grace, most=most)]


async def overdue(connection: Connection, grace: float, most: int) -> list[UUID]:
    """Past their deadline for longer than the grace, and not failed."""
    return [row["id"] for row in await statement("audit/overdue").fetch(connection, grace=grace, most=most)]


async def lost(connection: Connection, most: int) -> list[UUID]:
    """Running without a live lease."""
    return [row["id"] for row in await statement("audit/lost").fetch(connection, most=most)]


async def rung(connection: Connection, lane: tuple[str, int], before: datetime, reached: tuple[datetime, UUID], most: int) -> list[tuple[datetime, UUID]]:
    """The next `most` claimable tasks of a lane that were rung before a moment: when, and their ids. Go on with the last one."""
    rows = await statement("audit/rung").fetch(connection, queue=lane[0], priority=lane[1], before=before, reached=reached[0], reached_id=reached[1], most=most)
    return [(row["rung_at"], row["id"]) for row in rows]


async def stale_doorbells(connection: Connection, ids: Sequence[UUID], grace: float) -> dict[UUID, bool]:
    """Of the tasks of some doorbells, those that have not been claimable for longer than the grace; True for one that is not there at all."""
    return {row["id"]: row["missing"] for row in await statement("audit/stale_doorbells").fetch(connection, ids=ids, grace=grace)}
