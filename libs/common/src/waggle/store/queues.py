"""Queues as operators see them: pause and resume, figures, and the purge of what waits. Each function is one statement; the caller owns the transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.store.tasks import as_text, cancelled_by

WALKED: Final = 100_000  # tasks that the figures of a queue are counted over at most


async def paused(connection: Connection, names: Sequence[str]) -> set[str]:
    """Which of these queues are paused."""
    return {row["name"] for row in await statement("queues/paused").fetch(connection, names=list(names))}


async def pause(connection: Connection, name: str, *, paused: bool) -> None:
    """Pause or resume a queue. The caller notifies all workers after the commit."""
    await statement("queues/set_paused").execute(connection, name=name, paused=paused)


async def stats(connection: Connection, name: str, window: float) -> asyncpg.Record:
    """The figures of a queue over the last `window` seconds, or over as many of them as the newest WALKED tasks of all queues span."""
    row = await statement("queues/stats").fetchrow(connection, queue=name, window=window, most=WALKED)
    assert row is not None
    return row


async def waiting(connection: Connection, name: str, until: datetime, most: int, *, priority: int | None = None, kind: str | None = None) -> list[UUID]:
    """Up to twice `most` tasks that wait in a queue, created at `until` at the latest; `kind` is their type."""
    rows = await statement("queues/waiting").fetch(connection, queue=name, until=until, priority=priority, type=kind, most=most)
    return [row["id"] for row in rows]


async def cancel_waiting(connection: Connection, ids: Sequence[UUID], by: str | None = None) -> list[asyncpg.Record]:
    """Cancel those of these tasks that wait and whose rows are not locked; returns their id, type, queue and attempt."""
    return await statement("tasks/cancel_waiting").fetch(connection, ids=ids, error=as_text(cancelled_by(by)))
