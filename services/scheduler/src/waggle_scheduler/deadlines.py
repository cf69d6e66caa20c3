"""Fails tasks that passed their deadline, waiting or running, and tells the workers of those that ran to stop."""

import asyncio
from typing import Final

import structlog

from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.repair import deadlines
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.store.waiting import Overdue
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 1.0
MOST: Final = 1000

OVERDUE: Final = catalogue.TASKS_OVERDUE.create()


async def fail_overdue(pool: Connection, bus: Bus, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        failed = await waiting.fail_overdue(pool, MOST)
        _report(failed)
        await deadlines.announce(bus, failed)
        return len(failed) == MOST

    await periodic(EVERY, step, OUTAGE, stopping)


def _report(failed: list[Overdue]) -> None:
    for task in failed:
        OVERDUE.labels(task.was).inc()
        log.warning("a task passed its deadline", task_id=str(task.id), type=task.type, was=task.was, worker_id=task.worker_id, attempt=task.attempt)
