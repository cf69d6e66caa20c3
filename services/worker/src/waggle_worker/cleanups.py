"""PendingCleanup hooks (`@app.task(cleanup=…)`): called once when a task ended without success, by the worker that claimed the hook's row.

The commit that ends the task writes the row, so that no crash can lose it; the row is claimed only after the handler has really ended. If a worker
dies while it runs a hook, or before Postgres has its end, another one calls it again. A hook that fails is called again after a pause, `CLEANUP_TRIES`
times in all. The task's status never changes. A worker without hooks asks Postgres nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from waggle import forked
from waggle.app import Handler
from waggle.context import RUNNING, Context
from waggle.declarations import is_async
from waggle.errors import TaskError
from waggle.loops import wait_for
from waggle.retry import backoff
from waggle.store import cleanups
from waggle.store.cleanups import AtRest, PendingCleanup
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_worker import layers, metrics, outcomes
from waggle_worker.claims import Claims
from waggle_worker.lease import Lease
from waggle_worker.runs import Runs

log = structlog.get_logger()

CLEANUP_POLL_SECONDS: Final = 1.0
CLEANUP_SOON_SECONDS: Final = 0.05  # after a task ended without success: more may follow
CLEANUPS_AT_ONCE: Final = 10
CLEANUP_TRIES: Final = 5
CLEANUP_RETRY_SECONDS: Final = 0.5
NO_THREAD_SECONDS: Final = 5.0


class NoThreadError(RuntimeError):
    """The system has no further thread: the hook was not called."""


class Cleanups:
    """Calls the hooks that are due. `due` is set when one may be."""

    def __init__(self, connection: Connection, lease: Lease, handlers: Mapping[str, Handler], runs: Runs, claims: Claims, due: asyncio.Event) -> None:
        self._connection, self._lease, self._runs, self._claims = connection, lease, runs, claims
        self.hooks = {name: handler for name, handler in handlers.items() if handler.cleanup}
        self._threads = ThreadPoolExecutor(CLEANUPS_AT_ONCE, thread_name_prefix="cleanup")
        self._in_threads: list[Future[Any]] = []
        self._going: dict[UUID, asyncio.Task[None]] = {}
        self._due = due
        self._draining = False

    @property
    def running(self) -> int:
        return len(self._going)

    @property
    def in_threads(self) -> int:
        """Hooks in threads that have not ended, timed-out ones included."""
        self._in_threads = [future for future in self._in_threads if not future.done()]
        return len(self._in_threads)

    async def loop(self) -> None:
        """Claim and call what is due. Ends at once when no handler has a hook."""
        out = False
        async with asyncio.TaskGroup() as group:
            while self.hooks:
                if await wait_for(self._due, CLEANUP_POLL_SECONDS):
                    await asyncio.sleep(CLEANUP_SOON_SECONDS)
                self._due.clear()
                try:
                    await self._take(group)
                    out = False
                except POSTGRES_OUTAGE as error:
                    if not out:
                        log.warning("outage, waiting", loop="cleanups", error=str(error) or type(error).__name__)
                    out = True

    def drain(self) -> None:
        """Call no more hooks; those that run go on."""
        self._draining = True

    def give_back(self) -> None:
        """Stop the running hooks; they go back, uncounted."""
        for task in self._going.values():
            task.cancel()

    async def _take(self, group: asyncio.TaskGroup) -> None:
        free = CLEANUPS_AT_ONCE - max(len(self._going), self.in_threads)
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

    async def _serve(self, cleanup: PendingCleanup, worker_id: str) -> None:
        await self._until_answered(await self._run(cleanup, worker_id))

    async def _run(self, cleanup: PendingCleanup, worker_id: str) -> Callable[[], Awaitable[None]]:
        """Call the hook. Returns the statement that settles it."""
        end = partial(cleanups.end, self._connection, cleanup, worker_id)
        said = {"task_id": str(cleanup.task_id), "task_type": cleanup.type, "attempt": cleanup.attempt, "tries": cleanup.tries}
        if cleanup.task is None:
            log.info("cleanup no longer due", **said)
            return end
        try:
            await self._call(self.hooks[cleanup.type], cleanup, cleanup.task)
        except BaseException as error:  # a hook must not end the worker
            if isinstance(error, asyncio.CancelledError) and _is_stopped():
                return partial(cleanups.postpone, self._connection, cleanup, worker_id, 0.0, counted=False)
            if isinstance(error, NoThreadError):
                log.error("cleanup cannot start, will be retried", **said, error=str(error), retry_in=NO_THREAD_SECONDS)
                return partial(cleanups.postpone, self._connection, cleanup, worker_id, NO_THREAD_SECONDS, counted=False)
            hopeless = cleanup.tries >= CLEANUP_TRIES
            metrics.CLEANUPS.labels(cleanup.type, "given_up" if hopeless else "failed").inc()
            reason = f"{type(error).__name__}: {outcomes.text_of(error)}"
            if hopeless:
                log.error("cleanup failed, given up", **said, error=reason)
                return end
            delay = backoff(cleanup.tries - 1)
            log.warning("cleanup failed, will be retried", **said, error=reason, retry_in=round(delay, 3))
            return partial(cleanups.postpone, self._connection, cleanup, worker_id, delay, counted=True)
        metrics.CLEANUPS.labels(cleanup.type, "done").inc()
        log.info("cleanup done", **said)
        return end

    async def _call(self, handler: Handler, cleanup: PendingCleanup, task: AtRest) -> None:
        """For at most the type's timeout. A hook in a thread cannot be stopped, only left alone."""
        assert handler.cleanup is not None
        over = asyncio.Event()
        context = Context(task, over.is_set)
        RUNNING.set(context)
        try:
            async with asyncio.timeout(handler.timeout):
                if is_async(handler.cleanup):
                    await layers.fully(handler.cleanup(context, cleanup.error))
                    return
                call = partial(_called, handler.cleanup, context, cleanup.error, over)
                try:
                    future = self._threads.submit(copy_context().run, call)
                except RuntimeError as error:
                    raise NoThreadError(str(error)) from error
                self._in_threads.append(future)
                rest = await asyncio.wrap_future(future)
                if rest is not None:
                    await asyncio.get_running_loop().create_task(layers.fully(rest.awaitable), context=rest.context)
        finally:
            over.set()

    async def _until_answered(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Repeat until Postgres answers; until then the hook counts as running here, so that no other worker calls it."""
        while True:
            try:
                await settle()
                return
            except POSTGRES_OUTAGE as error:
                if self._draining:
                    log.warning("cleanup not settled", error=str(error) or type(error).__name__)
                    return
                await asyncio.sleep(CLEANUP_RETRY_SECONDS)


def _is_stopped() -> bool:
    """Whether this task was cancelled from outside. Otherwise the hook raised CancelledError itself, which is a failure like any other."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _called(hook: Callable[..., Any], context: Context, error: TaskError, over: asyncio.Event) -> layers.Unfinished | None:
    """In a thread: call a plain hook. Returns what is left to await, of a wrapper around an async one."""
    if over.is_set():  # a pool that gets no thread raises and keeps the call all the same, for a thread that is free later
        return None
    found = forked.called(hook, context, error)
    return layers.Unfinished(found, copy_context()) if layers.is_awaitable(found) else None
