"""Publishes which tasks failed at their deadline, and asks the workers of running ones to stop them."""

from collections import defaultdict
from uuid import UUID

from waggle.bus import events, subjects
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.errors import ErrorCode
from waggle.store.waiting import Overdue
from waggle.task import Status


async def announce(bus: Bus, failed: list[Overdue]) -> None:
    """Call it after the commit of `store.waiting.fail_overdue`."""
    running: defaultdict[str, list[tuple[UUID, int]]] = defaultdict(list)
    for task in failed:
        if task.was is Status.RUNNING and task.worker_id:
            running[task.worker_id].append((task.id, task.attempt))
    for worker_id, attempts in running.items():
        await bus.publish(subjects.control(worker_id), subjects.control_message(attempts))
    if failed:
        await bus.publish(subjects.SETTLED, subjects.settled((task.id, Status.FAILED) for task in failed))
        at, code = events.now(), ErrorCode.TASK_TIMEOUT
        await events.tell(bus, (TaskEvent(task.id, task.type, task.queue, Status.FAILED, task.attempt, at, code) for task in failed))
