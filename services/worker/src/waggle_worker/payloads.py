"""Large payloads, which a claim leaves behind: fetched a few at a time, so that neither small tasks nor the worker's memory wait for many of them.

A task whose payload does not come is not started: it comes back by reconciliation.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog

from waggle.store import tasks
from waggle.store.postgres import OUTAGE
from waggle.store.sql import Connection
from waggle.task import Claimed, Fence
from waggle_worker.lease import Lease
from waggle_worker.runs import Runs

log = structlog.get_logger()

AT_ONCE: Final = 2


class Payloads:
    """Claimed tasks that wait for their payload: each of them holds a slot. `done` is called whenever one waits no more."""

    def __init__(self, connection: Connection, lease: Lease, runs: Runs) -> None:
        self._connection, self._lease, self._runs = connection, lease, runs
        self._waiting: asyncio.Queue[tuple[Claimed, str]] = asyncio.Queue()
        self.done: Callable[[], None] = lambda: None
        self.draining = False  # what waits goes back, at once and without cost
        self.under_way: set[UUID] = set()

    def add(self, claimed: Claimed, worker_id: str) -> None:
        self.under_way.add(claimed.id)
        self._waiting.put_nowait((claimed, worker_id))

    async def loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            claimed, worker_id = await self._waiting.get()
            try:
                await self._start(claimed, worker_id)
            finally:
                self.under_way.discard(claimed.id)
                self.done()

    async def _start(self, claimed: Claimed, worker_id: str) -> None:
        """Start its handler, if the lease is the one of its claim still, and the task ours."""
        if not self._holds(worker_id):
            return
        if self.draining:
            self._runs.hand_back(claimed, worker_id)
            return
        try:
            payload = await tasks.payload(self._connection, Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at))
        except OUTAGE as error:
            log.warning("a payload did not come, its task comes back by reconciliation", task_id=str(claimed.id), error=str(error) or type(error).__name__)
            return
        if payload is not None and self._holds(worker_id):
            self._runs.start(msgspec.structs.replace(claimed, payload=payload), worker_id)

    def _holds(self, worker_id: str) -> bool:
        return self._lease.live and self._lease.id == worker_id
