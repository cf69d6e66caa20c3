"""The figures of the whole system, for the metrics page: what waits in each lane, who serves it, what Postgres, JetStream and the disks say.

Every scheduler has the same figures, so a query takes their maximum. A look that takes long is rare: LOOK_SHARE of the time at most.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nats.js.errors

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import LONGEST_SECONDS, LOOK_SHARE, periodic, wait_for
from waggle.store import figures
from waggle.store.client import Connection
from waggle.task import Priority
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

QUEUES_SECONDS: Final = 10.0  # between two looks
SERVERS_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0  # in an outage

SIZE: Final = catalogue.QUEUE_SIZE.create()
LATER: Final = catalogue.TASKS_LATER.create()
RUNNING: Final = catalogue.TASKS_RUNNING.create()
WAIT: Final = catalogue.OLDEST_WAIT.create()
PAUSED: Final = catalogue.QUEUE_PAUSED.create()
WORKERS: Final = catalogue.WORKERS_LIVE.create()
UNSERVED: Final = catalogue.TASKS_UNSERVED.create()
TRANSACTION: Final = catalogue.OLDEST_TRANSACTION.create()
SLOT: Final = catalogue.SLOT_TRANSACTIONS.create()
DEAD: Final = catalogue.DEAD_ROWS.create()
LIVE: Final = catalogue.LIVE_ROWS.create()
BYTES: Final = catalogue.DATABASE_BYTES.create()
CONNECTIONS: Final = catalogue.POSTGRES_CONNECTIONS.create()
CONNECTIONS_MOST: Final = catalogue.POSTGRES_CONNECTIONS_MOST.create()
MESSAGES: Final = catalogue.STREAM_MESSAGES.create()
STREAM_BYTES: Final = catalogue.STREAM_BYTES.create()
STREAM_LIMIT: Final = catalogue.STREAM_LIMIT.create()
FREE: Final = catalogue.DISK_FREE.create()
DISK: Final = catalogue.DISK_SIZE.create()

LANES: Final = {priority.value: priority.name.lower() for priority in Priority}


async def keep_queues(pool: Connection, stopping: asyncio.Event) -> None:
    """What waits, and for whom."""
    gone: set[str] = set()  # queues that a look before has shown

    async def step() -> bool:
        nonlocal gone
        began = time.monotonic()
        oldest, depths, queues = await figures.oldest(pool), await figures.depths(pool), await figures.queues(pool)
        waits = {(row["queue"], row["priority"]): row["seconds"] for row in oldest}
        lanes = {(row["queue"], row["priority"]): row for row in depths}
        known = {row["name"]: row for row in queues}
        for queue in {*known, *(queue for queue, _ in lanes), *gone}:
            row = known.get(queue)
            paused, workers = (row["paused"], row["workers"]) if row else (False, 0)
            due = [lanes[queue, priority]["due"] if (queue, priority) in lanes else 0 for priority in Priority]
            for priority, size in zip(Priority, due, strict=True):
                lane, labels = lanes.get((queue, priority)), (queue, LANES[priority])
                SIZE.labels(*labels).set(size)
                LATER.labels(*labels).set(lane["later"] if lane else 0)
                RUNNING.labels(*labels).set(lane["running"] if lane else 0)
                WAIT.labels(*labels).set(waits.get((queue, priority), 0.0))
            PAUSED.labels(queue).set(paused)
            WORKERS.labels(queue).set(workers)
            UNSERVED.labels(queue).set(0 if paused or workers else sum(due))
        gone = {*known, *(queue for queue, _ in lanes)}
        await _rest(began, QUEUES_SECONDS, stopping)
        return True

    await periodic(RETRY_SECONDS, step, OUTAGE, stopping)


async def keep_servers(pool: Connection, bus: Bus, folders: Sequence[str], stopping: asyncio.Event) -> None:
    """What Postgres, JetStream and the disks say."""

    async def step() -> bool:
        began = time.monotonic()
        watch_disks(folders)
        await _postgres(pool)
        if bus.connected:
            await _streams(bus)
        await _rest(began, SERVERS_SECONDS, stopping)
        return True

    await periodic(RETRY_SECONDS, step, OUTAGE, stopping)


def watch_disks(folders: Sequence[str]) -> None:
    """A folder that is not there is left out."""
    for folder in folders:
        if Path(folder).is_dir():
            usage = shutil.disk_usage(folder)
            FREE.labels(folder).set(usage.free)
            DISK.labels(folder).set(usage.total)


async def _postgres(pool: Connection) -> None:
    server = await figures.server(pool)
    BYTES.set(server["bytes"])
    CONNECTIONS.set(server["connections"])
    CONNECTIONS_MOST.set(server["connections_most"])
    SLOT.set(server["slot_transactions"])
    TRANSACTION.set(await figures.oldest_transaction(pool))
    for row in await figures.rows(pool):
        LIVE.labels(row["table"]).set(row["live"])
        DEAD.labels(row["table"]).set(row["dead"])


async def _streams(bus: Bus) -> None:
    jetstream = bus.jetstream()
    for stream in subjects.STREAMS:
        try:
            info = await jetstream.stream_info(stream)
        except nats.js.errors.NotFoundError:  # the topology makes it at any moment
            continue
        MESSAGES.labels(stream).set(info.state.messages)
        STREAM_BYTES.labels(stream).set(info.state.bytes)
        limit = info.config.max_bytes
        STREAM_LIMIT.labels(stream).set(limit if limit is not None and limit > 0 else float("inf"))


async def _rest(began: float, seconds: float, stopping: asyncio.Event) -> None:
    """Wait for the next look."""
    await wait_for(stopping, max(seconds, min((time.monotonic() - began) / LOOK_SHARE, LONGEST_SECONDS)))
