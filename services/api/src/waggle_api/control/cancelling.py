"""Cancels tasks and deletes finished ones. Workers and waiting readers are notified."""

from typing import Final
from uuid import UUID

import structlog

from waggle.bus import events, subjects
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.errors import ErrorCode
from waggle.store import tasks
from waggle.store.tasks import Cancelled
from waggle.task import FINAL, Status, Task
from waggle_api.connections import Borrow
from waggle_api.refusals import Conflict, NotFound, Unavailable

log = structlog.get_logger()

TRIES: Final = 3
NO_TASK: Final = "there is no task with this id"
CHANGED: Final = "the task changed concurrently; retry the request"


def existing(task: Task | None) -> Task:
    """Raises NotFound for None."""
    if task is None:
        raise NotFound(NO_TASK)
    return task


async def cancel(borrow: Borrow, bus: Bus, task_id: UUID, by: str) -> Task:
    """Cancel a task that has not ended; returns it as it is now, also if it was cancelled before. Raises NotFound, Conflict or Unavailable."""
    for _ in range(TRIES):
        async with borrow() as connection:
            cancelled = await tasks.cancel(connection, task_id, by)
            if cancelled is not None:
                await _notify_cancelled(bus, cancelled)
            task = existing(await tasks.get(connection, task_id))
        if cancelled is not None:
            event = TaskEvent(task.id, task.type, task.queue, Status.CANCELLED, task.attempt, events.now(), ErrorCode.TASK_CANCELLED)
            await events.tell(bus, [event])
        match task.status:
            case Status.CANCELLED:
                return task
            case Status.COMPLETED | Status.FAILED:
                raise Conflict(f"the task has already ended: {task.status}")
            case Status.DEAD_LETTER:
                raise Conflict("the task is a dead letter: it does not run any more")
            case Status.PENDING | Status.RUNNING:  # it came back from the dead letter queue between the two statements
                continue
    raise Unavailable(CHANGED, retry_after=1)


async def delete(borrow: Borrow, task_id: UUID) -> None:
    """Delete a finished task with its attempts. Raises NotFound, Conflict or Unavailable."""
    for _ in range(TRIES):
        async with borrow() as connection:
            if await tasks.delete(connection, task_id):
                log.info("task deleted", task_id=str(task_id))
                return
            status = existing((await tasks.get_many(connection, [task_id])).get(task_id)).status
        if status not in FINAL:  # otherwise it ended between the two statements
            raise Conflict(f"only a finished task can be deleted; this one is {'a dead letter' if status is Status.DEAD_LETTER else status}")
    raise Unavailable(CHANGED, retry_after=1)


async def _notify_cancelled(bus: Bus, cancelled: Cancelled) -> None:
    """Stop its worker's handler, and wake those who wait for it."""
    if cancelled.was is Status.RUNNING and cancelled.worker_id is not None:
        await bus.publish(subjects.control(cancelled.worker_id), subjects.control_message([(cancelled.id, cancelled.attempt)]))
    await bus.publish(subjects.SETTLED, subjects.settled([(cancelled.id, Status.CANCELLED)]))
