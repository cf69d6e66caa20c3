"""Gathers submissions that arrive while statements are in flight, and passes them on as one group. No timer: if nothing is in flight, it commits at once."""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from waggle.store.tasks import NewTask
from waggle.telemetry.traces import current
from waggle_api.refusals import Unavailable
from waggle_api.submit.insertion import Accepted, Admitted

log = structlog.get_logger()

GROUP_TASKS: Final = 1_000
GROUP_BYTES: Final = 1 << 20  # above this, Postgres and its driver copy every value twice, and Postgres spills to disk
WAITING_TASKS: Final = 20_000
WAITING_BYTES: Final = 64 << 20
OVERLOAD_LOG_SECONDS: Final = 10.0


class Pending:
    """A submission that waits for its commit."""

    __slots__ = ("answer", "arrived", "bytes", "submission", "trace")

    def __init__(self, submission: Admitted) -> None:
        self.submission = submission
        self.answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.arrived = time.monotonic()
        self.trace = current()
        self.bytes = sum([_size(new) for new in submission.tasks])


class Gathering:
    """A queue in front of `commit`, which runs up to `in_flight` times at once and answers every submission that it is given."""

    def __init__(self, commit: Callable[[list[Pending]], Awaitable[None]], in_flight: int) -> None:
        self._commit = commit
        self._waiting: collections.deque[Pending] = collections.deque()
        self._tasks = self._bytes = self._running = 0
        self._some, self._idle = asyncio.Event(), asyncio.Event()
        self._slots = asyncio.Semaphore(in_flight)
        self._idle.set()
        self._logged_at = -OVERLOAD_LOG_SECONDS

    def add(self, pending: Pending) -> None:
        """Raises Unavailable if too much is waiting already."""
        if self._waiting and (self._tasks + len(pending.submission.tasks) > WAITING_TASKS or self._bytes + pending.bytes > WAITING_BYTES):
            self._log_overload()
            raise Unavailable("too many submissions are waiting", retry_after=1)
        self._tasks += len(pending.submission.tasks)
        self._bytes += pending.bytes
        self._waiting.append(pending)
        self._some.set()
        self._idle.clear()

    async def run(self) -> None:
        """The loop: whenever a slot is free, everything that has gathered becomes one group."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._some.wait()
                await self._slots.acquire()
                self._running += 1
                group.create_task(self._one(self._take()), name="commit")

    async def drained(self) -> None:
        """Return once nothing is waiting or in flight."""
        await self._idle.wait()

    async def _one(self, group: list[Pending]) -> None:
        try:
            await self._commit(group)
        finally:
            self._running -= 1
            self._slots.release()
            if not self._running and not self._waiting:
                self._idle.set()

    def _take(self) -> list[Pending]:
        """The oldest submissions, as many as one statement takes, but at least one."""
        group: list[Pending] = []
        tasks = size = 0
        while self._waiting:
            tasks += len(self._waiting[0].submission.tasks)
            size += self._waiting[0].bytes
            if group and (tasks > GROUP_TASKS or size > GROUP_BYTES):
                break
            group.append(self._waiting.popleft())
            self._tasks -= len(group[-1].submission.tasks)
            self._bytes -= group[-1].bytes
        if not self._waiting:
            self._some.clear()
        return group

    def _log_overload(self) -> None:
        now = time.monotonic()
        if now - self._logged_at >= OVERLOAD_LOG_SECONDS:
            self._logged_at = now
            log.warning("submissions refused: overloaded", waiting_tasks=self._tasks, waiting_bytes=self._bytes)


def _size(new: NewTask) -> int:
    return len(new.payload) + len(new.metadata) + len(new.description)
