"""Running handlers: each run holds a slot from its claim until its handler has really ended.

An async handler is a task on the loop, anything else a thread. A timeout cancels an async handler and gives up on a thread, whose slot stays taken.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from waggle.app import Handler
from waggle.context import Context
from waggle.task import Claimed, Done, Ended, Fence, Outcome, Snoozed, Tries, decide, not_here_delay
from waggle_worker import meters, outcomes
from waggle_worker.settler import Settler

log = structlog.get_logger()

STUBBORN: Final = 5.0  # seconds that a cancelled handler gets to end before its outcome is settled without it

Attempt = tuple[UUID, int, datetime]  # what names a run under one worker id


class Run:
    """One attempt on this worker."""

    __slots__ = ("began", "cancelled", "claimed", "handler", "settled", "since", "task", "timed_out", "timer", "worker_id")

    def __init__(self, claimed: Claimed, handler: Handler, worker_id: str) -> None:
        self.claimed, self.handler, self.worker_id = claimed, handler, worker_id
        self.since = time.monotonic()
        self.task: asyncio.Future[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.began = False  # an async handler whose task has taken its first step: before that a cancellation would never reach it
        self.timed_out = False
        self.settled = False  # its outcome is decided, or nobody wants it
        self.cancelled: Outcome | None = None  # what it comes to when it was cancelled from outside

    @property
    def attempt(self) -> Attempt:
        return self.claimed.id, self.claimed.attempt, self.claimed.started_at

    def is_cancelled(self) -> bool:
        return self.timed_out or self.settled or self.cancelled is not None


class Runs:
    """The runs of this worker. `freed` is called whenever a slot became free."""

    def __init__(self, handlers: Mapping[str, Handler], settler: Settler, slots: int, freed: Callable[[], None]) -> None:
        self._handlers, self._settler, self._slots, self._freed = handlers, settler, slots, freed
        self._runs: set[Run] = set()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="handler")
        self._loop = asyncio.get_running_loop()
        self._giving_back = False
        self.started = 0

    @property
    def running(self) -> int:
        return len(self._runs)

    @property
    def free(self) -> int:
        return self._slots - len(self._runs)

    @property
    def attempts(self) -> set[Attempt]:
        """The runs whose outcome is still open."""
        return {run.attempt for run in self._runs if not run.settled}

    def start(self, claimed: Claimed, worker_id: str) -> None:
        """Run a claimed task; what cannot be run here is settled at once."""
        if self._giving_back:  # its claim was answered after the grace time
            self._settle(claimed, worker_id, Snoozed(0.0, Ended.GIVEN_BACK))
            return
        handler = self._handlers.get(claimed.type)
        if handler is None:
            log.warning("no handler for this type here, snoozed", task_id=str(claimed.id), task_type=claimed.type)
            self._settle(claimed, worker_id, Snoozed(not_here_delay(claimed.attempt, claimed.retry_count)))
            return
        if claimed.lost_count and any(run.claimed.lost_count and not run.settled for run in self._runs):
            self._settle(claimed, worker_id, Snoozed(not_here_delay(claimed.attempt, claimed.retry_count), Ended.GIVEN_BACK))
            return
        try:
            arguments = handler.arguments(claimed.payload)
        except Exception as error:  # msgspec's, or whatever a user's own type raises while it is made
            self._settle(claimed, worker_id, outcomes.misfit(error), handler)
            return
        run = Run(claimed, handler, worker_id)
        self._runs.add(run)
        self.started += 1
        run.timer = self._loop.call_later(claimed.timeout, self._time_out, run)
        if handler.is_async:
            run.task = self._loop.create_task(self._run_async(run, arguments))
        else:
            run.task = self._loop.run_in_executor(self._threads, self._run_sync, run, arguments)
            run.task.add_done_callback(lambda done: self._ended(run, _outcome_of(done)))

    def stop(self, attempts: Set[Attempt], reason: str) -> None:
        """Stop runs whose task is no longer theirs; their outcome is dropped."""
        for run in list(self._runs):
            if not run.settled and run.attempt in attempts:
                run.settled = True
                meters.DROPPED.labels(reason).inc()
                log.warning("handler stopped", task_id=str(run.claimed.id), task_type=run.claimed.type, attempt=run.claimed.attempt, reason=reason)
                self._cancel(run)

    def stop_task(self, task_id: UUID, attempt: int, reason: str) -> None:
        """Stop the run of a task's attempt, if it is here."""
        self.stop({run.attempt for run in self._runs if run.claimed.id == task_id and run.claimed.attempt == attempt}, reason)

    def give_back(self) -> None:
        """The grace time is over: every run goes back, at once and without cost, and so does what is claimed still."""
        self._giving_back = True
        for run in list(self._runs):
            if not run.settled:
                run.cancelled = Snoozed(0.0, Ended.GIVEN_BACK)
                self._cancel(run)
                if not run.handler.is_async:
                    self._decide(run, run.cancelled)

    def insist(self) -> None:
        """Settle what was cancelled and still has not ended."""
        for run in self._runs:
            if run.cancelled is not None:
                self._decide(run, run.cancelled)

    async def _run_async(self, run: Run, arguments: dict[str, Any]) -> None:
        handler, run.began = run.handler, True
        try:
            if run.is_cancelled():
                raise asyncio.CancelledError
            value = await (handler.function(Context(run.claimed, run.is_cancelled), **arguments) if handler.takes_context else handler.function(**arguments))
            outcome = outcomes.of_result(value)
        except BaseException as error:  # also CancelledError and SystemExit: a handler must not take the worker with it
            outcome = outcomes.of_exception(error)
        self._ended(run, outcome)

    @staticmethod
    def _run_sync(run: Run, arguments: dict[str, Any]) -> Outcome:
        handler = run.handler
        try:
            return outcomes.of_result(
                handler.function(Context(run.claimed, run.is_cancelled), **arguments) if handler.takes_context else handler.function(**arguments)
            )
        except BaseException as error:  # SystemExit too
            return outcomes.of_exception(error)

    def _ended(self, run: Run, outcome: Outcome) -> None:
        """The handler has ended: its slot is free."""
        self._runs.discard(run)
        if run.timer is not None:
            run.timer.cancel()
        if run.timed_out:
            outcome = outcomes.timeout(run.claimed.timeout)
        elif run.cancelled is not None and not isinstance(outcome, Done):
            outcome = run.cancelled
        self._decide(run, outcome)
        self._freed()

    def _decide(self, run: Run, outcome: Outcome) -> None:
        if not run.settled:
            run.settled = True
            meters.duration(run.claimed.type).observe(time.monotonic() - run.since)
            self._settle(run.claimed, run.worker_id, outcome, run.handler)

    def _settle(self, claimed: Claimed, worker_id: str, outcome: Outcome, handler: Handler | None = None) -> None:
        tries = Tries(claimed.retry_count, claimed.max_retries, handler is None or handler.dead_letter)
        self._settler.add(Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at), decide(outcome, tries), claimed.type)

    def _time_out(self, run: Run) -> None:
        run.timed_out = True
        self._cancel(run)
        run.timer = self._loop.call_later(STUBBORN if run.handler.is_async else 0, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        """It does not end: the task goes on without it, its slot stays taken."""
        if not run.settled:
            log.warning("handler does not end, its slot stays taken", task_id=str(run.claimed.id), task_type=run.claimed.type, attempt=run.claimed.attempt)
            self._decide(run, outcomes.timeout(run.claimed.timeout))

    @staticmethod
    def _cancel(run: Run) -> None:
        if run.task is not None and run.began:
            run.task.cancel()


def _outcome_of(done: "asyncio.Future[Any]") -> Outcome:
    if done.cancelled():
        return Snoozed(0.0, Ended.GIVEN_BACK)
    error = done.exception()
    return outcomes.of_exception(error) if error is not None else done.result()
