"""One attempt of a task on this worker: the states it goes through, and what it comes to in each. Its slot is taken until it has ended.

`Runs` and `Execution` say what happens to it; where that leads is decided here, by one table.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from waggle.app import Handler
from waggle.context import Context
from waggle.task import Claimed, Done, Outcome
from waggle_worker import outcomes, tracing
from waggle_worker.attempt_log import AttemptLog, LogLimits
from waggle_worker.emitting import Emissions, Emitter
from waggle_worker.protect.breakers import Breakers
from waggle_worker.protect.calls import BreakerCall

Attempt = tuple[UUID, int, datetime]  # names a run under one worker id


class RunState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"  # claimed, and its handler has not started: a probe or a process comes first
    RUNNING = "running"
    TIMED_OUT = "timed_out"  # its handler was asked to end; the outcome is a timeout, whatever the handler returns
    GOING_BACK = "going_back"  # its handler was asked to end because the worker stops; the task goes back unless it completes
    LET_GO = "let_go"  # settled without its handler, or ended elsewhere; the handler still has to end
    ENDED = "ended"


WAITING, RUNNING, TIMED_OUT, GOING_BACK, LET_GO, ENDED = RunState  # Python 3.11 takes 0.2 µs for each `RunState.NAME`

NEXT: Final[Mapping[RunState, frozenset[RunState]]] = MappingProxyType(
    {
        WAITING: frozenset({RUNNING, GOING_BACK, LET_GO, ENDED}),
        RUNNING: frozenset({TIMED_OUT, GOING_BACK, LET_GO, ENDED}),
        GOING_BACK: frozenset({TIMED_OUT, LET_GO, ENDED}),
        TIMED_OUT: frozenset({LET_GO, ENDED}),
        LET_GO: frozenset({ENDED}),
        ENDED: frozenset(),
    }
)
WANTED: Final = frozenset({WAITING, RUNNING})  # the handler was not asked to end
OPEN: Final = frozenset(RunState) - {LET_GO, ENDED}  # the outcome is open


class Run:
    """One attempt on this worker."""

    __slots__ = (
        "_breakers",
        "_emitter",
        "_log_limits",
        "_loop",
        "calls",
        "claimed",
        "emissions",
        "handler",
        "lines",
        "logs",
        "since",
        "state",
        "stepped",
        "task",
        "timer",
        "trace",
        "type_call",
        "worker_id",
    )

    def __init__(
        self,
        claimed: Claimed,
        handler: Handler,
        worker_id: str,
        breakers: Breakers,
        loop: asyncio.AbstractEventLoop,
        log_limits: LogLimits | None = None,
        emitter: Emitter | None = None,
    ) -> None:
        self.claimed, self.handler, self.worker_id, self._breakers, self._loop = claimed, handler, worker_id, breakers, loop
        self.state = WAITING
        self._log_limits, self._emitter = log_limits, emitter
        self.emissions: Emissions | None = None  # from the first use of `ctx.emit` on
        self.trace = None if claimed.traceparent is None else tracing.trace_of(claimed)
        self.lines: AttemptLog | None = None  # from the first use of `ctx.log` on
        self.logs: str | None = None  # what a handler in a process of its own wrote
        self.since = time.monotonic()
        self.task: asyncio.Future[Any] | None = None
        self.stepped = False  # the task on the loop has taken its first step: before that a cancellation would never reach the handler
        self.timer: asyncio.TimerHandle | None = None
        self.type_call: BreakerCall | None = None  # for a type with `breaker=`: the whole run is the call
        self.calls: set[BreakerCall] = set()  # the breakers that it is inside of

    @property
    def attempt(self) -> Attempt:
        return self.claimed.id, self.claimed.attempt, self.claimed.started_at

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def has_ended(self) -> bool:
        return self.state is ENDED

    @property
    def can_be_ended(self) -> bool:
        """Whether its handler can be ended from outside: a thread cannot, but what it returned to be awaited on the loop can."""
        return self.handler.is_async or self.handler.process or self.stepped

    def is_cancelled(self) -> bool:
        return self.state not in WANTED

    def context(self) -> Context:
        return Context(
            self.claimed,
            self.is_cancelled,
            self.breaker,
            None if self._log_limits is None else self._open_log,
            None if self._emitter is None else self._emit,
        )

    def _emit(self, value: Any) -> Awaitable[None]:
        if self.emissions is None:
            assert self._emitter is not None
            masked = partial(outcomes.text_without_secrets, payload=self.claimed.payload, schema=self.handler.schema) if self.handler.has_secrets else None
            self.emissions = Emissions(self.claimed, self._emitter, masked)
        return self.emissions.emit(value)

    def emitted(self) -> str | None:
        """The last values that its handler emitted, as JSON."""
        return None if self.emissions is None else self.emissions.text()

    def _open_log(self) -> AttemptLog:
        assert self._log_limits is not None
        self.lines = AttemptLog(self._log_limits)
        return self.lines

    def written(self) -> str | None:
        """What its handler has logged until now, as JSON."""
        return self.logs if self.lines is None else self.lines.text()

    def breaker(self, name: str, ignore: tuple[type[BaseException], ...] = ()) -> BreakerCall:
        return BreakerCall(self._breakers, name, ignore, self._loop, self.calls)

    def enter_type_breaker(self) -> bool:
        """Pass the circuit breaker of its type; False when the run would be the probe, which has to be awaited. Raises BreakerOpen."""
        if self.handler.breaker is None:
            return True
        self.type_call = self.breaker(self.handler.breaker)
        return self.type_call.enter_now()

    def begin(self) -> None:
        """Its handler starts: the timeout counts from here."""
        if self.state is WAITING:
            self._become(RUNNING)
        self.since = time.monotonic()
        if self.trace is not None:
            self.trace.begin()

    def time_out(self) -> None:
        """Its time is over. Its breakers count that now: a handler that hangs may never end."""
        if self.is_open:
            self._become(TIMED_OUT)
        for call in list(self.calls):
            call.timed_out(self.claimed.timeout)
        self._cancel()

    def go_back(self) -> None:
        """The worker stops: ask the handler to end."""
        if self.state in WANTED:
            self._become(GOING_BACK)
        self._cancel()

    def stop(self) -> None:
        """This attempt was ended elsewhere: its outcome is dropped."""
        self._become(LET_GO)
        self._cancel()

    def let_go(self) -> Outcome:
        """Go on without its handler, which was asked to end: what to settle now."""
        outcome = self._verdict(outcomes.GIVEN_BACK)
        self._become(LET_GO)
        assert outcome is not None
        return outcome

    def end(self, outcome: Outcome) -> Outcome | None:
        """Its handler ended with `outcome`: what to settle now; None when it was settled before, or ended elsewhere."""
        if self.timer is not None:
            self.timer.cancel()
        if self.type_call is not None:
            self.type_call.neutral() if self.is_cancelled() else self.type_call.ended(outcome)
        if self.calls:  # left open by the handler: a probe among them would keep its breaker half-open
            self._leave_calls()
        verdict = self._verdict(outcome)
        self._become(ENDED)
        return verdict

    def _verdict(self, outcome: Outcome) -> Outcome | None:
        if self.state in WANTED:
            return outcome
        if self.state is TIMED_OUT:
            return outcomes.timeout(self.claimed.timeout)
        if self.state is GOING_BACK:
            return outcome if isinstance(outcome, Done) else outcomes.GIVEN_BACK
        return None

    def _become(self, state: RunState) -> None:
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a run that is {self.state} cannot become {state}")
        self.state = state

    def _cancel(self) -> None:
        self._leave_calls()
        if self.task is not None and self.stepped:
            self.task.cancel()

    def _leave_calls(self) -> None:
        for call in list(self.calls):
            call.neutral()
