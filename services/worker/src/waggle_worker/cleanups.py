"""Cleanup hooks (`@app.task(cleanup=…)`): called once when a task ended without success, by a worker that holds the database's row for it.

The row is written in the commit that ends the task, so that no crash can lose it; it is taken only after the handler has really ended. A worker that
dies while it runs a hook, or before Postgres knows that it did, leaves the hook to another: then it is called again. A hook that fails is called again
after a pause, `TRIES` times in all. Nothing of this changes the task's status. A worker without hooks asks Postgres nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final
from uuid import UUID

import structlog

from waggle.app import Handler
from waggle.context import Context
from waggle.loops import wait_for
from waggle.retry import backoff
from waggle.store import cleanups
from waggle.store.cleanups import AtRest, Cleanup
from waggle.store.client import Connection
from waggle.store.postgres import OUTAGE
from waggle_worker import metrics, outcomes
from waggle_worker.claims import Claims
from waggle_worker.lease import Lease
from waggle_worker.runs import Runs

log = structlog.get_logger()

EVERY: Final = 1.0
SOON: Final = 0.05  # after a task ended without success: others may follow
AT_ONCE: Final = 10
TRIES: Final = 5
PAUSE: Final = 0.5


class Cleanups:
    """The hooks that run here, and what is owed to tasks."""

    def __init__(self, connection: Connection, lease: Lease, handlers: Mapping[str, Handler], runs: Runs, claims: Claims, due: asyncio.Event) -> None:
        self._connection, self._lease, self._runs, self._claims = connection, lease, runs, claims
        self.hooks = {name: handler for name, handler in handlers.items() if handler.cleanup}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cleanup")
        self._in_threads: list[Future[Any]] = []
        self._going: dict[UUID, asyncio.Task[None]] = {}
        self._due = due  # set when a hook may have to be called
        self._draining = False

    @property
    def running(self) -> int:
        return len(self._going)

    @property
    def in_threads(self) -> int:
        """Hooks in threads that have not ended, also those that nobody waits for any more."""
        self._in_threads = [future for future in self._in_threads if not future.done()]
        return len(self._in_threads)

    async def loop(self) -> None:
        """Take what is owed, as long as there are hooks."""
        out = False
        async with asyncio.TaskGroup() as group:
            while self.hooks:
                if await wait_for(self._due, EVERY):
                    await asyncio.sleep(SOON)
                self._due.clear()
                try:
                    await self._take(group)
                    out = False
                except OUTAGE as error:
                    if not out:
                        log.warning("outage, waiting", loop="cleanups", error=str(error) or type(error).__name__)
                    out = True

    def drain(self) -> None:
        """Call no more hooks; those that run go on."""
        self._draining = True

    def give_back(self) -> None:
        """Stop the hooks that run; they go back, uncounted."""
        for task in self._going.values():
            task.cancel()

    async def _take(self, group: asyncio.TaskGroup) -> None:
        free = AT_ONCE - max(len(self._going), self.in_threads)
        if self._draining or not self._lease.live or free <= 0:
            return
        worker_id = self._lease.id
        busy = [*self._going, *self._runs.tasks, *self._claims.under_way]
        found = await cleanups.claim(self._connection, worker_id, list(self.hooks), busy, free)
        more = len(found) == free
        for cleanup in found:
            self._going[cleanup.task_id] = task = group.create_task(self._serve(cleanup, worker_id))
            task.add_done_callback(partial(self._served, cleanup.task_id, more))

    def _served(self, task_id: UUID, more: bool, _task: asyncio.Task[None]) -> None:
        del self._going[task_id]
        if more:
            self._due.set()

    async def _serve(self, cleanup: Cleanup, worker_id: str) -> None:
        await self._until_answered(await self._run(cleanup, worker_id))

    async def _run(self, cleanup: Cleanup, worker_id: str) -> Callable[[], Awaitable[None]]:
        """Call the hook; what Postgres has to know of it."""
        end = partial(cleanups.end, self._connection, cleanup, worker_id)
        said = {"task_id": str(cleanup.task_id), "task_type": cleanup.type, "attempt": cleanup.attempt, "tries": cleanup.tries}
        if cleanup.task is None:
            log.info("no cleanup, the task was retried or deleted", **said)
            return end
        try:
            await self._call(self.hooks[cleanup.type], cleanup, cleanup.task)
        except BaseException as error:  # a hook must not take the worker with it
            if isinstance(error, asyncio.CancelledError) and _is_stopped():
                return partial(cleanups.put_off, self._connection, cleanup, worker_id, 0.0, counted=False)
            hopeless = cleanup.tries >= TRIES
            metrics.CLEANUPS.labels(cleanup.type, "given_up" if hopeless else "failed").inc()
            reason = f"{type(error).__name__}: {outcomes.said(error)}"
            if hopeless:
                log.error("cleanup failed, given up", **said, error=reason)
                return end
            delay = backoff(cleanup.tries - 1)
            log.warning("cleanup failed, will be repeated", **said, error=reason, retry_in=round(delay, 3))
            return partial(cleanups.put_off, self._connection, cleanup, worker_id, delay, counted=True)
        metrics.CLEANUPS.labels(cleanup.type, "done").inc()
        log.info("cleanup done", **said)
        return end

    async def _call(self, handler: Handler, cleanup: Cleanup, task: AtRest) -> None:
        """For at most the type's timeout. A hook in a thread cannot be stopped: nobody waits for it any more."""
        assert handler.cleanup is not None
        over = asyncio.Event()
        context = Context(task, over.is_set)
        try:
            async with asyncio.timeout(handler.timeout):
                if iscoroutinefunction(handler.cleanup):
                    await handler.cleanup(context, cleanup.error)
                else:
                    self._in_threads.append(self._threads.submit(handler.cleanup, context, cleanup.error))
                    await asyncio.wrap_future(self._in_threads[-1])
        finally:
            over.set()

    async def _until_answered(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Until then the hook counts as running here, so that nobody calls it again."""
        while True:
            try:
                await settle()
                return
            except OUTAGE as error:
                if self._draining:
                    log.warning("a cleanup could not be settled, it is repeated elsewhere", error=str(error) or type(error).__name__)
                    return
                await asyncio.sleep(PAUSE)


def _is_stopped() -> bool:
    """Whether this task was cancelled from outside. Otherwise a CancelledError is the hook's own, and a failure like any other."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
