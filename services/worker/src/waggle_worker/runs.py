"""Running handlers: each run holds a slot from its claim until its handler has really ended.

An async handler is a task on the loop, one with `process=True` has a process of its own, anything else is a thread. A timeout cancels an async
handler, kills a process, and gives up on a thread, whose slot stays taken.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from waggle.app import Handler
from waggle.context import BreakerOpen, Context
from waggle.retry import SNOOZE_CAP
from waggle.task import AttemptOutcome, Claimed, Done, Fence, Outcome, Snoozed, Tries, decide, not_here_delay
from waggle_worker import layers, meters, outcomes
from waggle_worker.processes.children import Children
from waggle_worker.protect.breakers import Breakers
from waggle_worker.protect.guards import Guard
from waggle_worker.settler import Settler

log = structlog.get_logger()

SUSPECT_FIRST: Final = 1.0
STUBBORN: Final = 5.0  # seconds that a cancelled handler gets to end before its outcome is settled without it

TOO_LATE: Final = Snoozed(0.0, AttemptOutcome.GIVEN_BACK)  # the lease is no longer believed live, and the handler had not started

Attempt = tuple[UUID, int, datetime]  # what names a run under one worker id


class Run:
    """One attempt on this worker."""

    __slots__ = ("began", "cancelled", "claimed", "gate", "guards", "handler", "settled", "since", "task", "timed_out", "timer", "waits", "worker_id")

    def __init__(self, claimed: Claimed, handler: Handler, worker_id: str) -> None:
        self.claimed, self.handler, self.worker_id = claimed, handler, worker_id
        self.since = time.monotonic()
        self.task: asyncio.Future[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.began = False  # its task on the loop has taken its first step: before that a cancellation would never reach it
        self.waits = handler.process  # for a process, and its handler has not started
        self.timed_out = False
        self.settled = False  # its outcome is decided, or nobody wants it
        self.cancelled: Outcome | None = None  # what it comes to when it was cancelled from outside
        self.gate: Guard | None = None  # of the circuit breaker of its type
        self.guards: set[Guard] = set()  # the circuit breakers that it is inside of

    @property
    def attempt(self) -> Attempt:
        return self.claimed.id, self.claimed.attempt, self.claimed.started_at

    def is_cancelled(self) -> bool:
        return self.timed_out or self.settled or self.cancelled is not None


class Runs:
    """The runs of this worker. `freed` is called whenever a slot became free."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        settler: Settler,
        slots: int,
        freed: Callable[[], None],
        children: Children,
        breakers: Breakers | None = None,
        may_start: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`may_start` says of a worker id whether its lease is believed live: asked again when a handler really starts."""
        self._handlers, self._settler, self.slots, self._freed, self._children = handlers, settler, slots, freed, children
        self._breakers, self._may_start = breakers, may_start
        self._runs: set[Run] = set()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="handler")
        self._loop = asyncio.get_running_loop()
        self._narrator = layers.Narrator()
        self._sent_away: list[Fence] = []  # suspects
        self._giving_back = False
        self._draining = False
        self.stopped: Callable[[], None] = lambda: None  # called when a handler has ended whose task somebody else had ended
        self.started = 0

    @property
    def running(self) -> int:
        return len(self._runs)

    @property
    def free(self) -> int:
        return self.slots - len(self._runs)

    @property
    def attempts(self) -> set[Attempt]:
        """The runs whose outcome is still open."""
        return {run.attempt for run in self._runs if not run.settled}

    @property
    def tasks(self) -> list[UUID]:
        """The tasks whose handler has not ended, wanted or not."""
        return [run.claimed.id for run in self._runs]

    def start(self, claimed: Claimed, worker_id: str) -> None:
        """Run a claimed task; what cannot be run here is settled at once."""
        if self._giving_back:  # its claim was answered after the grace time
            self.hand_back(claimed, worker_id)
            return
        handler = self._handlers.get(claimed.type)
        if handler is None:
            log.warning("no handler for this type here, snoozed", task_id=str(claimed.id), task_type=claimed.type)
            self._settle(claimed, worker_id, Snoozed(not_here_delay(claimed.attempt, claimed.retry_count)))
            return
        if claimed.lost_count and (since := self._suspect_since()) is not None:
            self.hand_back(claimed, worker_id, suspect_delay(time.monotonic() - since))
            self._sent_away.append(_fence(claimed, worker_id))
            return
        if handler.process and self._draining:
            self._settle(claimed, worker_id, Snoozed(0.0, AttemptOutcome.GIVEN_BACK), handler)
            return
        try:
            arguments = {} if handler.process else handler.arguments(claimed.payload)  # a process looks at its payload by itself
        except Exception as error:  # msgspec's, or whatever a user's own type raises while it is made
            self._settle(claimed, worker_id, outcomes.misfit(error), handler)
            return
        run = Run(claimed, handler, worker_id)
        try:
            is_in = self._enters(run)
        except BreakerOpen as away:
            self._settle(claimed, worker_id, outcomes.of_exception(away), handler)
            return
        self._runs.add(run)
        self.started += 1
        if is_in and not claimed.lost_count:
            self._goes(run, arguments)
        else:
            run.task = self._loop.create_task(self._goes_later(run, arguments, is_in=is_in))

    def hand_back(self, claimed: Claimed, worker_id: str, delay: float = 0.0) -> None:
        """A claimed task that is not started here: back without cost, to be run after `delay` seconds."""
        self._settle(claimed, worker_id, Snoozed(delay, AttemptOutcome.GIVEN_BACK))

    def _suspect_since(self) -> float | None:
        """Since when a suspect runs here, if one does."""
        return next((run.since for run in self._runs if run.claimed.lost_count and not run.settled), None)

    def _away(self) -> bool:
        """Whether suspects that were sent away are on their way still."""
        self._sent_away = [fence for fence in self._sent_away if self._settler.holds(fence)]
        return bool(self._sent_away)

    def _enters(self, run: Run) -> bool:
        """Pass the circuit breaker of its type; False when it would be the probe, which must be asked for. Raises BreakerOpen."""
        if run.handler.breaker is None or self._breakers is None:
            return True
        run.gate = Guard(self._breakers, run.handler.breaker, (), self._loop, run.guards)
        return run.gate.enter_now()

    async def _goes_later(self, run: Run, arguments: dict[str, Any], *, is_in: bool) -> None:
        """A suspect waits until those that came with it are back, and a probe until it may."""
        try:
            while run.claimed.lost_count and self._away() and not run.is_cancelled():  # noqa: ASYNC110  # it might kill this process, and them once more
                await asyncio.sleep(0.005)
            if not is_in:
                assert run.gate is not None
                await run.gate.enter()
            if run.is_cancelled():
                raise asyncio.CancelledError
        except BaseException as error:
            self._ended(run, outcomes.of_exception(error))
        else:
            if self._may_start(run.worker_id):
                self._goes(run, arguments)
            else:
                self._ended(run, TOO_LATE)

    def _goes(self, run: Run, arguments: dict[str, Any]) -> None:
        if run.handler.process:
            run.task = self._loop.create_task(self._in_process(run))
            return
        self._begins(run)
        if run.handler.is_async:
            run.task = self._loop.create_task(self._on_loop(run, arguments))
        else:
            run.task = self._loop.run_in_executor(self._threads, layers.called, run.handler, self._context(run), arguments)
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

    def drain(self) -> None:
        """What waits for a process goes back, at once and without cost; what runs goes on."""
        self._draining = True
        for run in list(self._runs):
            if run.waits and not run.settled:
                run.cancelled = Snoozed(0.0, AttemptOutcome.GIVEN_BACK)
                self._cancel(run)

    def give_back(self) -> None:
        """The grace time is over: every run goes back, at once and without cost, and so does what is claimed still."""
        self._giving_back = True
        for run in list(self._runs):
            if not run.settled:
                run.cancelled = Snoozed(0.0, AttemptOutcome.GIVEN_BACK)
                self._cancel(run)
                if not _can_be_ended(run.handler):
                    self._decide(run, run.cancelled)

    def insist(self) -> None:
        """Settle what was cancelled and still has not ended."""
        for run in self._runs:
            if run.cancelled is not None:
                self._decide(run, run.cancelled)

    def _context(self, run: Run) -> Context:
        breakers = self._breakers
        if breakers is None:
            return Context(run.claimed, run.is_cancelled)
        return Context(run.claimed, run.is_cancelled, lambda name, ignore: Guard(breakers, name, ignore, self._loop, run.guards))

    def _begins(self, run: Run) -> None:
        """Its handler starts: its timeout counts from here."""
        run.waits, run.since = False, time.monotonic()
        run.timer = self._loop.call_later(run.claimed.timeout, self._time_out, run)
        self._narrator.started(run.claimed)

    async def _on_loop(self, run: Run, arguments: dict[str, Any]) -> None:
        run.began = True
        if run.is_cancelled():
            outcome = outcomes.of_exception(asyncio.CancelledError())
        elif self._may_start(run.worker_id):
            outcome = await layers.awaited(run.handler, self._context(run), arguments)
        else:
            outcome = TOO_LATE
        self._ended(run, outcome)

    async def _in_process(self, run: Run) -> None:
        run.began = True
        try:
            if run.is_cancelled():
                raise asyncio.CancelledError
            outcome = await self._children.run(run.claimed, lambda: self._may_start(run.worker_id), lambda: self._begins(run))
        except BaseException as error:  # CancelledError too: the process is gone, and the slot is free
            outcome = outcomes.of_exception(error)
        self._ended(run, outcome)

    def _ended(self, run: Run, outcome: Outcome) -> None:
        """The handler has ended: its slot is free."""
        self._runs.discard(run)
        if run.timer is not None:
            run.timer.cancel()
        if run.gate is not None:
            run.gate.says_nothing() if run.is_cancelled() else run.gate.ended(outcome)
        if run.guards:  # left open by the handler: a probe among them would keep its breaker half-open
            for guard in list(run.guards):
                guard.says_nothing()
        if run.timed_out:
            outcome = outcomes.timeout(run.claimed.timeout)
        elif run.cancelled is not None and not isinstance(outcome, Done):
            outcome = run.cancelled
        if run.settled:
            self.stopped()
        self._decide(run, outcome)
        self._freed()

    def _decide(self, run: Run, outcome: Outcome) -> None:
        if not run.settled:
            run.settled = True
            meters.duration(run.claimed.type).observe(time.monotonic() - run.since)
            self._narrator.ended(run.claimed, outcome, run.since)
            self._settle(run.claimed, run.worker_id, outcome, run.handler)

    def _settle(self, claimed: Claimed, worker_id: str, outcome: Outcome, handler: Handler | None = None) -> None:
        tries = Tries(claimed.retry_count, claimed.max_retries, handler is None or handler.dead_letter)
        self._settler.add(_fence(claimed, worker_id), decide(outcome, tries), claimed.type)

    def _time_out(self, run: Run) -> None:
        run.timed_out = True
        for guard in list(run.guards):
            guard.timed_out(run.claimed.timeout)
        self._cancel(run)
        run.timer = self._loop.call_later(STUBBORN if _can_be_ended(run.handler) else 0, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        """It does not end: the task goes on without it, its slot stays taken."""
        if not run.settled:
            log.warning("handler does not end, its slot stays taken", task_id=str(run.claimed.id), task_type=run.claimed.type, attempt=run.claimed.attempt)
            self._decide(run, outcomes.timeout(run.claimed.timeout))

    @staticmethod
    def _cancel(run: Run) -> None:
        for guard in list(run.guards):
            guard.says_nothing()
        if run.task is not None and run.began:
            run.task.cancel()


def _fence(claimed: Claimed, worker_id: str) -> Fence:
    return Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at)


def suspect_delay(ran: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds that a suspect waits because another one has run here for `ran` seconds: at most as long again (a second at least, 30 s at most).

    Not by how often it was sent away: one crash makes many suspects at once, and most of them are harmless and short. With full jitter, so that
    they come one by one.
    """
    return uniform(0.0, min(SNOOZE_CAP, max(SUSPECT_FIRST, ran)))


def _can_be_ended(handler: Handler) -> bool:
    """Whether its runs can be ended from outside: a thread cannot."""
    return handler.is_async or handler.process


def _outcome_of(done: "asyncio.Future[Any]") -> Outcome:
    if done.cancelled():
        return Snoozed(0.0, AttemptOutcome.GIVEN_BACK)
    error = done.exception()
    return outcomes.of_exception(error) if error is not None else done.result()
