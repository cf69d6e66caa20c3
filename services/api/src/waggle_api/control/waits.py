"""Readers that wait until a task has ended or is a dead letter (`?wait=`). `waggle.settled` wakes them; polling Postgres every second is the fallback."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import periodic, wait_for
from waggle.store import tasks
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import AT_REST, Task
from waggle_api import metrics
from waggle_api.connections import borrowed

FALLBACK_POLL_SECONDS: Final = 1.0


class Waits:
    """All readers in this process that wait for a task. Call `open()` once before the first wait."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus) -> None:
        self._pool, self._bus = pool, bus
        self._woken: dict[UUID, set[asyncio.Event]] = {}
        self._ended = False

    async def open(self) -> None:
        await self._bus.subscribe(subjects.SETTLED, self._on_settled)

    async def task_at_rest(self, task_id: UUID, seconds: float, receive: Callable[[], Awaitable[Any]]) -> Task | None:
        """The task once it is at rest, or as it is after `seconds`, or when the reader disconnects or this process stops. Raises one of POSTGRES_OUTAGE."""
        give_up = time.monotonic() + seconds
        with self.watching(task_id) as woken:  # before the first read, so that a task that settles in between is not missed
            reader = WaitingReader(woken)
            watching = asyncio.create_task(reader.watch(receive), name="reader")  # not in a group, which would wrap what the wait raises
            try:
                return await self._until(task_id, give_up, woken, reader)
            finally:
                watching.cancel()

    async def _until(self, task_id: UUID, give_up: float, woken: asyncio.Event, reader: "WaitingReader") -> Task | None:
        while True:
            woken.clear()
            async with borrowed(self._pool) as connection:
                task = await tasks.get(connection, task_id)
            left = give_up - time.monotonic()
            if task is None or task.status in AT_REST or left <= 0 or self._ended or reader.is_gone:
                return task
            await wait_for(woken, left)

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that polls Postgres for all waiting readers."""

        async def poll() -> bool:
            if self._woken:
                async with borrowed(self._pool) as connection:
                    self._wake_all(await tasks.at_rest(connection, list(self._woken)))
            return False

        await periodic(FALLBACK_POLL_SECONDS, poll, POSTGRES_OUTAGE, stopping)

    def end(self) -> None:
        """End all waits: each reader gets the task as it is."""
        self._ended = True
        self._wake_all(list(self._woken))

    async def _on_settled(self, message: Msg) -> None:
        if self._woken:
            self._wake_all(subjects.read_settled(message.data))

    def _wake_all(self, ids: list[UUID]) -> None:
        for task_id in ids:
            for woken in self._woken.get(task_id, ()):
                woken.set()

    @contextmanager
    def watching(self, task_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when the task comes to rest."""
        woken = asyncio.Event()
        self._woken.setdefault(task_id, set()).add(woken)
        metrics.WAITING.inc()
        try:
            yield woken
        finally:
            metrics.WAITING.dec()
            self._woken[task_id].discard(woken)
            if not self._woken[task_id]:
                del self._woken[task_id]


class WaitingReader:
    """A waiting reader, and whether it has disconnected."""

    def __init__(self, woken: asyncio.Event) -> None:
        self.is_gone = False
        self._woken = woken

    async def watch(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """End the wait when the connection ends."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._woken.set()
