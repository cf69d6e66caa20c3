"""Fails tasks that passed their deadline, waiting or running, and tells the workers of those that ran to stop."""

import asyncio
from collections import defaultdict
from typing import Final
from uuid import UUID

import structlog

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import periodic
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.store.waiting import Overdue
from waggle.task import Status
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 1.0
MOST: Final = 1000

OVERDUE: Final = catalogue.TASKS_OVERDUE.create()


async def fail_overdue(pool: Connection, bus: Bus, stopping: asyncio.Event) -> None:
    async def step() -> bool:
        return await fail_some(pool, bus) == MOST

    await periodic(EVERY, step, OUTAGE, stopping)


async def fail_some(pool: Connection, bus: Bus) -> int:
    """How many were failed, at most MOST."""
    failed = await waiting.fail_overdue(pool, MOST)
    await _tell(bus, failed)
    return len(failed)


async def _tell(bus: Bus, failed: list[Overdue]) -> None:
    running: defaultdict[str, list[tuple[UUID, int]]] = defaultdict(list)
    for task in failed:
        OVERDUE.labels(task.was).inc()
        log.warning("a task passed its deadline", task_id=str(task.id), type=task.type, was=task.was, worker_id=task.worker_id, attempt=task.attempt)
        if task.was is Status.RUNNING and task.worker_id:
            running[task.worker_id].append((task.id, task.attempt))
    for worker_id, attempts in running.items():
        await bus.publish(subjects.control(worker_id), subjects.command(attempts))
    if failed:
        await bus.publish(subjects.SETTLED, subjects.settled((task.id, Status.FAILED) for task in failed))
