"""Purges a queue: cancels its waiting tasks in batches, each in a transaction of its own, and wakes those who wait for them."""

import time
from typing import Final, NamedTuple

from waggle.bus import events, subjects
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.errors import ErrorCode
from waggle.store import queues, waiting
from waggle.store.client import Connection
from waggle.task import Status

PURGE_SECONDS: Final = 4.0  # per request; a request's connection is closed after twice that
CANCEL_BATCH: Final = 2_000  # tasks cancelled in one transaction
LOOKUP_LIMIT: Final = 20_000  # ids found at once


class PurgeFilter(NamedTuple):
    """The waiting tasks of a queue: all, or those of a priority or a type."""

    queue: str
    priority: int | None = None
    type: str | None = None


async def purge(connection: Connection, bus: Bus, which: PurgeFilter, by: str, seconds: float = PURGE_SECONDS) -> tuple[int, bool]:
    """How many of the tasks that were waiting at the start were cancelled, and whether the time ran out before all were."""
    ends, until, cancelled = time.monotonic() + seconds, await waiting.now(connection), 0
    while ids := await queues.waiting(connection, which.queue, until, LOOKUP_LIMIT, priority=which.priority, kind=which.type):
        before = cancelled
        for start in range(0, len(ids), CANCEL_BATCH):
            gone = await queues.cancel_waiting(connection, ids[start : start + CANCEL_BATCH], by)
            cancelled += len(gone)
            if gone:
                await bus.publish(subjects.SETTLED, subjects.settled((task["id"], Status.CANCELLED) for task in gone))
                at, code = events.now(), ErrorCode.TASK_CANCELLED
                await events.tell(bus, (TaskEvent(row["id"], row["type"], row["queue"], Status.CANCELLED, row["attempt"], at, code) for row in gone))
            if time.monotonic() >= ends:
                return cancelled, True
        if cancelled == before:  # the rest is locked: it is being claimed or cancelled
            break
    return cancelled, False
