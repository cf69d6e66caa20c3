"""Fails pending and running tasks whose deadline has passed, and asks the workers of running ones to stop them."""

import asyncio
from typing import Final

import structlog

from waggle.bus.connection import Bus
from waggle.loops import Looks, periodic
from waggle.repair import deadlines
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.store.waiting import Overdue
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

DEADLINE_SCAN_SECONDS: Final = 1.0
DEADLINE_BATCH: Final = 1000

OVERDUE: Final = catalogue.TASKS_OVERDUE.create()


async def fail_overdue(pool: Connection, bus: Bus, stopping: asyncio.Event) -> None:
    looks = Looks()

    async def step() -> bool:
        with looks.look() as back:
            failed = await waiting.fail_overdue(pool, DEADLINE_BATCH, back)
        if len(failed) == DEADLINE_BATCH:
            looks.left_some()
        _log_failed(failed)
        await deadlines.announce(bus, failed)
        return len(failed) == DEADLINE_BATCH

    await periodic(DEADLINE_SCAN_SECONDS, step, OUTAGE, stopping)


def _log_failed(failed: list[Overdue]) -> None:
    for task in failed:
        OVERDUE.labels(task.was).inc()
        log.warning("task deadline passed", task_id=str(task.id), type=task.type, was=task.was, worker_id=task.worker_id, attempt=task.attempt)
