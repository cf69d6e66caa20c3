"""The runs of this worker: what starts, what is stopped, what is settled when a run ends.

Each run holds a slot from its claim until its handler has really ended.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, Final
from uuid import UUID

import structlog

from waggle.app import Handler
from waggle.context import BreakerOpen
from waggle.task import Claimed, Failed, Fence, Outcome, Snoozed, not_here_delay
from waggle.telemetry.traces import SWITCH
from waggle_worker import layers, metrics, outcomes, tracing
from waggle_worker.attempt_log import LogLimits
from waggle_worker.emitting import Emitter
from waggle_worker.execution import Execution
from waggle_worker.misfits import Misfits
from waggle_worker.processes.children import HandlerProcesses
from waggle_worker.protect.breakers import Breakers
from waggle_worker.run import WAITING, Attempt, Run
from waggle_worker.settler import Settler
from waggle_worker.window import Window

log = structlog.get_logger()

LOST_AFTER_SECONDS: Final = 10.0


class Runs:
    """Calls `slot_freed` whenever a slot became free, and sets `hooks_due` when a handler has ended whose task was ended elsewhere.

    `may_start(worker_id)`: whether a task claimed under this id may start now.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        settler: Settler,
        misfits: Misfits,
        slots: int,
        processes: HandlerProcesses,
        breakers: Breakers,
        window: Window,
        may_start: Callable[[str], bool],
        slot_freed: Callable[[], None],
        hooks_due: asyncio.Event,
        log_limits: LogLimits,
        emitter: Emitter | None = None,
    ) -> None:
        self.handlers, self._settler, self._misfits, self.slots, self._breakers, self.window = handlers, settler, misfits, slots, breakers, window
        self._slot_freed, self._hooks_due = slot_freed, hooks_due
        self._log_limits = log_limits if log_limits.lines else None
        self._emitter = emitter
        self._runs: set[Run] = set()
        self._loop = asyncio.get_running_loop()
        self._narrator = layers.Narrator()
        self._execution = Execution(slots, processes, self._narrator, may_start, self._ended, self._overdue)
        self._draining, self._giving_back = False, False
        self.ended = 0

    @property
    def running(self) -> int:
        return len(self._runs)

    @property
    def lost(self) -> int:
        """Slots of handlers that have not ended LOST_AFTER_SECONDS after their timeout. Only a new process is sure to bring them back."""
        now = time.monotonic()
        return sum(not run.is_open and now > run.since + run.claimed.timeout + LOST_AFTER_SECONDS for run in self._runs)

    @property
    def free(self) -> int:
        return self.slots - len(self._runs)

    @property
    def attempts(self) -> set[Attempt]:
        """The runs whose outcome is open."""
        return {run.attempt for run in self._runs if run.is_open}

    @property
    def fences(self) -> list[Fence]:
        """The same, each with the worker id of its claim."""
        return [Fence(run.claimed.id, run.claimed.attempt, run.worker_id, run.claimed.started_at) for run in self._runs if run.is_open]

    @property
    def tasks(self) -> list[UUID]:
        """The tasks whose handler has not ended, wanted or not."""
        return [run.claimed.id for run in self._runs]

    def start(self, claimed: Claimed, worker_id: str) -> None:
        """Run a claimed task; one that cannot run here is settled at once."""
        if self._giving_back:  # its claim was answered after the grace time
            self._settler.give_back(claimed, worker_id)
            return
        handler = self.handlers.get(claimed.type)
        if handler is None:
            log.warning("no handler for task type", task_id=str(claimed.id), task_type=claimed.type)
            self._settler.settle(claimed, worker_id, Snoozed(not_here_delay(claimed.attempt, claimed.retry_count)))
            return
        if handler.process and self._draining:
            self._settler.give_back(claimed, worker_id)
            return
        try:
            self._begin(claimed, worker_id, handler)
        except Exception as error:  # it concerns this task alone
            self._settler.settle(claimed, worker_id, layers.not_started(claimed, error))

    def _begin(self, claimed: Claimed, worker_id: str, handler: Handler) -> None:
        began = time.perf_counter()
        try:
            arguments = {} if handler.process else handler.arguments(claimed.payload)  # a process reads its payload itself
        except Exception as error:  # msgspec's, or whatever a user's own type raises while it is made
            self._settle(claimed, worker_id, _shown(outcomes.misfit(error), claimed, handler), dead_letter=handler.dead_letter)
            return
        metrics.NOTED.payloads += time.perf_counter() - began
        self._start(Run(claimed, handler, worker_id, self._breakers, self._loop, self._log_limits, self._emitter), arguments)

    def stop(self, attempts: Set[Attempt], reason: str) -> None:
        """Stop runs whose task is no longer theirs; their outcome is dropped."""
        for run in list(self._runs):
            if run.is_open and run.attempt in attempts:
                metrics.DROPPED.labels(reason).inc()
                log.warning("handler stopped", task_id=str(run.claimed.id), task_type=run.claimed.type, attempt=run.claimed.attempt, reason=reason)
                run.stop()

    def stop_task(self, task_id: UUID, attempt: int, reason: str) -> None:
        """Stop the run of a task's attempt, if it is here."""
        self.stop({run.attempt for run in self._runs if run.claimed.id == task_id and run.claimed.attempt == attempt}, reason)

    def written(self, task_id: UUID, attempt: int) -> str | None:
        """What the handler of an attempt has logged until now, as JSON; None without a line, or when it is not here."""
        for run in self._runs:
            if (run.claimed.id, run.claimed.attempt) == (task_id, attempt):
                logs = run.written()
                return outcomes.text_without_secrets(logs, run.claimed.payload, run.handler.schema) if logs and run.handler.has_secrets else logs
        return None

    def drain(self) -> None:
        """Tasks that wait for a process go back at once; running ones continue."""
        self._draining = True
        for run in list(self._runs):
            if run.handler.process and run.state is WAITING:
                run.go_back()

    def give_back(self) -> None:
        """The grace time is over: every run goes back at once, and so does what is still being claimed."""
        self._giving_back = True
        for run in list(self._runs):
            if run.is_open:
                run.go_back()
                if not run.can_be_ended:
                    self._let_go(run)

    def insist(self) -> None:
        """Settle what was asked to end and has not."""
        for run in self._runs:
            if run.is_open and run.is_cancelled():
                self._let_go(run)

    def _start(self, run: Run, arguments: dict[str, Any]) -> None:
        try:
            is_in = run.enter_type_breaker()
        except BreakerOpen as error:
            self._settler.settle(run.claimed, run.worker_id, outcomes.of_exception(error), dead_letter=run.handler.dead_letter)
            return
        self._runs.add(run)
        if run.claimed.lost_count:
            self.window.add(run)
        if is_in:
            self._execution.start(run, arguments)
        else:  # a probe waits for the fleet's answer
            assert run.type_call is not None
            self._execution.start_after(run.type_call.enter(), run, arguments)

    def _ended(self, run: Run, outcome: Outcome) -> None:
        """The handler has ended: its slot is free."""
        self._runs.discard(run)
        self.ended += 1
        if run.claimed.lost_count:
            self.window.ended(run)
        verdict = run.end(outcome)
        if verdict is None:
            self._hooks_due.set()
        else:
            self._finish(run, verdict)
        self._slot_freed()

    def _overdue(self, run: Run) -> None:
        """It does not end: the task continues without it, its slot stays taken."""
        if run.is_open:
            log.warning("handler did not end after its timeout", task_id=str(run.claimed.id), task_type=run.claimed.type, attempt=run.claimed.attempt)
            self._let_go(run)

    def _let_go(self, run: Run) -> None:
        self._finish(run, run.let_go())

    def _finish(self, run: Run, outcome: Outcome) -> None:
        outcome = layers.paced(_shown(outcome, run.claimed, run.handler), run.handler, run.claimed)
        logs = run.written()
        if logs is not None and run.handler.has_secrets:
            logs = outcomes.text_without_secrets(logs, run.claimed.payload, run.handler.schema)
        seconds = time.monotonic() - run.since
        if run.trace is not None:
            metrics.NOTED.exemplar(run.claimed.type, seconds, run.trace.context.trace_id)
        else:
            metrics.NOTED.duration(run.claimed.type, seconds)
        self._narrator.ended(run.claimed, outcome, run.since)
        if run.trace is not None or (isinstance(outcome, Failed) and SWITCH.recorder is not None):
            tracing.ended(run.claimed, run.trace, outcome, run.since)
        self._settle(
            run.claimed,
            run.worker_id,
            outcome,
            dead_letter=run.handler.dead_letter,
            logs=logs,
            emitted=run.emitted(),
            traced=tracing.place(run.claimed, run.trace, outcome),
        )

    def _settle(self, claimed: Claimed, worker_id: str, outcome: Outcome, **rest: Any) -> None:
        if isinstance(outcome, Failed) and outcome.misfit:
            self._misfits.settle(claimed, worker_id, outcome, **rest)
        else:
            self._settler.settle(claimed, worker_id, outcome, **rest)


def _shown(outcome: Outcome, claimed: Claimed, handler: Handler) -> Outcome:
    """The outcome as it is stored and logged."""
    return outcomes.without_secrets(outcome, claimed.payload, handler.schema) if handler.has_secrets else outcome
