"""The purge of a queue: waiting tasks become cancelled, batch after batch, each a transaction of its own, and those who wait for them are told."""

import time
from typing import Final, NamedTuple

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.store import queues, waiting
from waggle.store.client import Connection
from waggle.task import Status

SECONDS: Final = 4.0  # that one request goes on; a reader's connection is given up after twice that
BATCH: Final = 2_000  # tasks cancelled in one transaction
FOUND: Final = 20_000  # ids looked up at once


class Which(NamedTuple):
    """The waiting tasks of a queue, all or those of a priority, of a type."""

    queue: str
    priority: int | None = None
    type: str | None = None


async def purge(connection: Connection, bus: Bus, which: Which, seconds: float = SECONDS) -> tuple[int, bool]:
    """How many were cancelled, of those that were there at the begin, and whether the time was over before all were."""
    ends, until, cancelled = time.monotonic() + seconds, await waiting.now(connection), 0
    while ids := await queues.waiting(connection, which.queue, until, FOUND, priority=which.priority, kind=which.type):
        before = cancelled
        for start in range(0, len(ids), BATCH):
            gone = await queues.cancel_waiting(connection, ids[start : start + BATCH])
            cancelled += len(gone)
            if gone:
                await bus.publish(subjects.SETTLED, subjects.settled((task_id, Status.CANCELLED) for task_id in gone))
            if time.monotonic() >= ends:
                return cancelled, True
        if cancelled == before:  # others hold what is left: it is being claimed or cancelled
            break
    return cancelled, False
