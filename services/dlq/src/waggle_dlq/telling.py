"""Publishes what became of dead letters."""

from collections.abc import Awaitable, Callable, Iterable

from waggle.bus import events
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.store.dead_letters import Moved
from waggle.task import Status

Tell = Callable[[Iterable[Moved], Status], Awaitable[None]]
"""Called after the commit that gave dead letters another status."""


async def tell(bus: Bus, moved: Iterable[Moved], status: Status) -> None:
    at = events.now()
    await events.tell(bus, (TaskEvent(task.id, task.type, task.queue, status, task.attempt, at, task.code) for task in moved))
