"""Deletes what finished longer ago than the retention of its status, with its attempts, its idempotency keys, and workers that are long gone.

A walk per status. Rows that a walk has to leave (unfinished tasks, dead letters, what is kept longer) are read again by the next one; when there are
very many of them a walk ends early, and the next one goes on where it was.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import structlog

from waggle.loops import periodic, wait_for
from waggle.settings.services import SchedulerSettings
from waggle.store import cleanups, leases, waiting
from waggle.store.client import Connection
from waggle.task import Status
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 60.0
MOST: Final = 2000
PAUSE: Final = 0.05  # seconds between two steps of a walk, so that it does not crowd out the work
LEFT_MOST: Final = 500_000  # rows that one walk reads and leaves
WORKERS: Final = 3600.0  # seconds that a worker that is gone is still shown
START: Final = UUID(int=0)

DELETED: Final = catalogue.TASKS_RETIRED.create()


def ages(settings: SchedulerSettings) -> dict[Status, float]:
    """How many seconds a task is kept after it finished, by its status."""
    own = {Status.COMPLETED: settings.retention_completed, Status.FAILED: settings.retention_failed, Status.CANCELLED: settings.retention_cancelled}
    return {status: settings.retention if keep is None else keep for status, keep in own.items()}


class Walk:
    """The walk through the tasks that ended with one status, from the oldest to those too young to be deleted."""

    def __init__(self, status: Status, keep: float) -> None:
        self._status, self._keep = status, keep
        self._reached = START

    async def go(self, pool: Connection, stopping: asyncio.Event) -> int:
        """To the end, or until it left LEFT_MOST rows; returns how many it deleted."""
        deleted = left = 0
        while left < LEFT_MOST:
            step = await waiting.delete_expired(pool, self._status, self._reached, self._keep, MOST)
            deleted += step.deleted
            left += step.seen - step.deleted
            DELETED.inc(step.deleted)
            self._reached = START if step.reached is None or step.seen < MOST else step.reached
            if self._reached == START or await wait_for(stopping, PAUSE):
                break
        return deleted


async def retire(pool: Connection, keep: Mapping[Status, float], stopping: asyncio.Event) -> None:
    walks = [Walk(status, seconds) for status, seconds in keep.items()]

    async def step() -> bool:
        tasks = sum([await walk.go(pool, stopping) for walk in walks])
        keys = await waiting.delete_expired_keys(pool, max(keep.values()), MOST)  # of the tasks that are kept longest: then most of the others' are gone too
        workers = await leases.delete_expired(pool, WORKERS)
        hooks = await cleanups.delete_expired(pool, min(keep.values()))
        if hooks:
            log.warning("cleanup hooks were never called, their tasks are gone: no worker had them", count=hooks)
        if tasks or keys or workers:
            log.info("deleted what was past its retention", tasks=tasks, idempotency_keys=keys, workers=workers)
        return keys == MOST

    await periodic(EVERY, step, OUTAGE, stopping)
