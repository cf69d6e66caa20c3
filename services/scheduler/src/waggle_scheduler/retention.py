"""Deletes finished tasks after the retention of their status, with their attempts and idempotency keys, rows of workers long gone, and
versions of task types that were not served for long.

One walk per status. A walk reads rows that it must keep (unfinished tasks, dead letters, other statuses) each time; with very many of them it ends
early, and the next walk continues there.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import structlog

from waggle.loops import periodic, wait_for
from waggle.settings.services import SchedulerSettings
from waggle.store import catalogue as task_types
from waggle.store import cleanups, leases, waiting
from waggle.store.client import Connection
from waggle.task import Status
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

RETENTION_SECONDS: Final = 60.0
RETENTION_BATCH: Final = 2000
BATCH_PAUSE_SECONDS: Final = 0.05  # between two batches, so that other work is not delayed
KEPT_LIMIT: Final = 500_000  # rows that one walk reads and keeps
WORKER_SECONDS: Final = 3600.0  # for which a dead worker is still listed
VERSIONS_KEPT: Final = 100  # of each task type, beside those that are served: payloads of before stay masked by their own version
START: Final = UUID(int=0)

DELETED: Final = catalogue.TASKS_RETIRED.create()


def ages(settings: SchedulerSettings) -> dict[Status, float]:
    """The seconds that finished tasks are kept, by status."""
    own = {Status.COMPLETED: settings.retention_completed, Status.FAILED: settings.retention_failed, Status.CANCELLED: settings.retention_cancelled}
    return {status: settings.retention if keep is None else keep for status, keep in own.items()}


class RetentionWalk:
    """The walk through the finished tasks of one status, from the oldest to the first that is too young to delete."""

    def __init__(self, status: Status, keep: float) -> None:
        self._status, self._keep = status, keep
        self._reached = START

    async def go(self, pool: Connection, stopping: asyncio.Event) -> int:
        """Walk to the end, or until KEPT_LIMIT rows were kept; returns how many tasks it deleted."""
        deleted = left = 0
        while left < KEPT_LIMIT:
            step = await waiting.delete_expired(pool, self._status, self._reached, self._keep, RETENTION_BATCH)
            deleted += step.deleted
            left += step.seen - step.deleted
            DELETED.inc(step.deleted)
            self._reached = START if step.reached is None or step.seen < RETENTION_BATCH else step.reached
            if self._reached == START or await wait_for(stopping, BATCH_PAUSE_SECONDS):
                break
        return deleted


async def delete_expired(pool: Connection, keep: Mapping[Status, float], stopping: asyncio.Event) -> None:
    walks = [RetentionWalk(status, seconds) for status, seconds in keep.items()]

    async def step() -> bool:
        tasks = sum([await walk.go(pool, stopping) for walk in walks])
        keys = await waiting.delete_expired_keys(pool, max(keep.values()), RETENTION_BATCH)  # by the longest retention: most keys then have no task left
        workers = await leases.delete_expired(pool, WORKER_SECONDS)
        await task_types.delete_old_versions(pool, VERSIONS_KEPT)
        hooks = await cleanups.delete_expired(pool, min(keep.values()))
        if hooks:
            log.warning("cleanup hooks expired, no worker had them", count=hooks)
        if tasks or keys or workers:
            log.info("expired rows deleted", tasks=tasks, idempotency_keys=keys, workers=workers)
        return keys == RETENTION_BATCH

    await periodic(RETENTION_SECONDS, step, OUTAGE, stopping)
