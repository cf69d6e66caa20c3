"""Large payloads, which a claim leaves out: fetched a few at a time, so that many of them neither delay small tasks nor fill the memory.

A task whose payload does not arrive goes back, without cost: it was never started.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
import structlog

from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import Claimed, Fence
from waggle_worker.lease import Lease
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler

log = structlog.get_logger()

PAYLOADS_AT_ONCE: Final = 2
PAYLOAD_RETRY_SECONDS: Final = 5.0  # that large payloads leave the slots to other tasks after one did not arrive


@dataclass(eq=False)
class Awaited:
    """A claimed task that waits for its payload. Rescheduling `fetch` ends it early."""

    claimed: Claimed
    worker_id: str
    stopped: bool = False
    fetch: asyncio.Timeout | None = None


class Payloads:
    """Claimed tasks that wait for their payload; each holds a slot. Calls `slot_freed` whenever one no longer waits."""

    def __init__(self, connection: Connection, lease: Lease, runs: Runs, settler: Settler, slot_freed: Callable[[], None]) -> None:
        self._connection, self._lease, self._runs, self._settler, self._slot_freed = connection, lease, runs, settler, slot_freed
        self._awaited: set[Awaited] = set()  # a task may be here twice: claimed again under another lease while a fetch still hangs
        self._queue: asyncio.Queue[Awaited] = asyncio.Queue()
        self._draining = False

    @property
    def count(self) -> int:
        return len(self._awaited)

    @property
    def ids(self) -> set[UUID]:
        return {one.claimed.id for one in self._awaited}

    @property
    def fences(self) -> list[Fence]:
        return [Fence(one.claimed.id, one.claimed.attempt, one.worker_id, one.claimed.started_at) for one in self._awaited]

    def holds(self, fence: Fence) -> bool:
        """Whether this attempt waits for its payload."""
        return any((one.claimed.id, one.claimed.attempt) == (fence.id, fence.attempt) for one in self._awaited)

    def add(self, claimed: Claimed, worker_id: str) -> None:
        one = Awaited(claimed, worker_id)
        self._awaited.add(one)
        self._queue.put_nowait(one)

    def stop_task(self, task_id: UUID, attempt: int) -> None:
        """This attempt was ended elsewhere: it is not started, even if its payload arrives."""
        for one in self._awaited:
            one.stopped |= (one.claimed.id, one.claimed.attempt) == (task_id, attempt)

    def drain(self) -> None:
        """Waiting tasks go back; a fetch under way continues."""
        self._draining = True

    def give_back(self) -> None:
        """The grace period is over: tasks with a fetch under way go back as well."""
        for one in self._awaited:
            if one.fetch is not None:
                one.fetch.reschedule(asyncio.get_running_loop().time())

    async def loop(self) -> None:
        """Fetch one after another; PAYLOADS_AT_ONCE of these loops run."""
        while True:
            one = await self._queue.get()
            try:
                await self._start(one)
            finally:
                self._leaves(one)

    async def _start(self, one: Awaited) -> None:
        """Start its handler, if the lease of its claim is still live and the task is still held."""
        payload: str | None = ""
        if not self._draining and self._may_start(one):
            try:
                async with asyncio.timeout(None) as one.fetch:
                    payload = await tasks.payload(self._connection, Fence(one.claimed.id, one.claimed.attempt, one.worker_id, one.claimed.started_at))
            except POSTGRES_OUTAGE as error:
                if not self._draining:
                    log.warning("large payload not fetched", count=self.count, task_id=str(one.claimed.id), error=repr(error))
                    self._make_room()
            finally:
                one.fetch = None
        if payload is None or one.stopped:
            return
        if payload and self._may_start(one):
            self._runs.start(msgspec.structs.replace(one.claimed, payload=payload), one.worker_id)
        else:
            self._settler.give_back(one.claimed, one.worker_id, 0.0 if self._draining else _pause())

    def _make_room(self) -> None:
        """Give all waiting tasks back for a while, so that other tasks get their slots."""
        while not self._queue.empty():
            one = self._queue.get_nowait()
            self._settler.give_back(one.claimed, one.worker_id, _pause())
            self._leaves(one)

    def _leaves(self, one: Awaited) -> None:
        self._awaited.discard(one)
        self._slot_freed()

    def _may_start(self, one: Awaited) -> bool:
        return not one.stopped and self._lease.covers(one.worker_id)


def _pause() -> float:
    return random.uniform(PAYLOAD_RETRY_SECONDS / 2, PAYLOAD_RETRY_SECONDS)  # noqa: S311  # jitter, not secrecy
