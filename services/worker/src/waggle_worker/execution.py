"""How handlers run: an async one as a task on the loop, one with `process=True` in a process of its own, any other in a thread.

What a handler in a thread returns may have to be awaited (a plain wrapper around an async function): that happens on the loop, in the same context.
A timeout cancels an async handler, kills a process, and gives up on a thread, whose slot stays taken. The last look at the lease is here.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from waggle.context import Context
from waggle.task import Outcome
from waggle.telemetry.traces import CURRENT, SWITCH
from waggle_worker import layers, outcomes
from waggle_worker.processes.children import HandlerProcesses
from waggle_worker.run import Run

STUBBORN_SECONDS: Final = 5.0  # that a cancelled handler gets to end before its outcome is settled without it


class Execution:
    """Runs handlers. Each run that was started ends with one call of `ended(run, outcome)`; before that, `overdue(run)` says that a timeout did not end it."""

    def __init__(
        self,
        slots: int,
        processes: HandlerProcesses,
        narrator: layers.Narrator,
        may_start: Callable[[str], bool],
        ended: Callable[[Run, Outcome], None],
        overdue: Callable[[Run], None],
    ) -> None:
        self._processes, self._narrator, self._may_start, self._ended, self._overdue = processes, narrator, may_start, ended, overdue
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="handler")
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # a run may start where another one ends: it must not have what that one's handler has set

    def start(self, run: Run, arguments: dict[str, Any]) -> None:
        try:
            self._start(run, arguments)
        except Exception as error:  # no further thread from the system: it concerns this run alone
            self._ended(run, layers.not_started(run.claimed, error))

    def _start(self, run: Run, arguments: dict[str, Any]) -> None:
        if run.handler.process:
            run.task = self._loop.create_task(self._in_process(run), context=self._context.copy())
            return
        self._begin(run)
        if run.handler.is_async:
            run.task = self._loop.create_task(self._on_loop(run, arguments), context=self._context.copy())
        else:
            call = partial(_called, run, run.context(), arguments)
            traced = run.claimed.traceparent is not None
            run.task = self._loop.run_in_executor(self._threads, partial(within, run, call) if traced else call)
            run.task.add_done_callback(partial(self._returned, run))

    def start_after(self, turn: Coroutine[Any, Any, None], run: Run, arguments: dict[str, Any]) -> None:
        """Start a run that has to wait for its turn."""
        run.task = self._loop.create_task(self._in_turn(turn, run, arguments), context=self._context.copy())

    async def _in_turn(self, turn: Coroutine[Any, Any, None], run: Run, arguments: dict[str, Any]) -> None:
        try:
            await turn
            if run.is_cancelled():
                raise asyncio.CancelledError
        except BaseException as error:  # BreakerOpen, mostly
            self._ended(run, outcomes.of_exception(error))
        else:
            if self._may_start(run.worker_id):  # the lease may have ended meanwhile
                self.start(run, arguments)
            else:
                self._ended(run, outcomes.GIVEN_BACK)

    def _begin(self, run: Run) -> None:
        run.begin()
        run.timer = self._loop.call_later(run.claimed.timeout, self._time_out, run)
        self._narrator.started(run.claimed)

    async def _on_loop(self, run: Run, arguments: dict[str, Any]) -> None:
        run.stepped = True
        if run.claimed.traceparent is not None:  # this task of the loop has a context of its own
            enter(run)
        if run.is_cancelled():
            outcome = outcomes.of_exception(asyncio.CancelledError())
        elif self._may_start(run.worker_id):
            outcome = await layers.awaited(run.handler, run.context(), arguments)
        else:
            outcome = outcomes.GIVEN_BACK
        self._ended(run, outcome)

    def _returned(self, run: Run, done: "asyncio.Future[Any]") -> None:
        """The call in a thread is over."""
        outcome = _outcome_of(done)
        if isinstance(outcome, layers.Unfinished):
            run.task = self._loop.create_task(self._finish(run, outcome), context=outcome.context)
        else:
            self._ended(run, outcome)

    async def _finish(self, run: Run, rest: layers.Unfinished) -> None:
        run.stepped = True
        if run.is_cancelled():
            rest.abandon()
            self._ended(run, outcomes.of_exception(asyncio.CancelledError()))
        else:
            self._ended(run, await layers.finished(rest.awaitable))

    async def _in_process(self, run: Run) -> None:
        run.stepped = True
        try:
            if run.is_cancelled():
                raise asyncio.CancelledError
            outcome = await self._processes.run(run.claimed, lambda: self._may_start(run.worker_id), lambda: self._begin(run), partial(setattr, run, "logs"))
        except BaseException as error:  # CancelledError too: the process is gone, and the slot is free
            outcome = outcomes.of_exception(error)
        self._ended(run, outcome)

    def _time_out(self, run: Run) -> None:
        run.time_out()
        run.timer = self._loop.call_later(STUBBORN_SECONDS if run.can_be_ended else 0, self._overdue, run)


def _called(run: Run, context: Context, arguments: dict[str, Any]) -> Outcome | layers.Unfinished:
    """In a thread. A pool that gets no thread raises and keeps the call all the same, for a thread that is free later."""
    return outcomes.GIVEN_BACK if run.has_ended else layers.called(run.handler, context, arguments)


def enter(run: Run) -> None:
    """Let what this task of the loop does belong to the attempt's span, or to the trace that is only passed on."""
    if run.trace is None:
        CURRENT.set(run.claimed)
        return
    CURRENT.set(run.trace.context)
    if SWITCH.handlers_trace:  # by OpenTelemetry's own API
        from opentelemetry.context import attach

        from waggle.telemetry.otlp import user_context

        attach(user_context(run.trace.context))


def within(run: Run, call: Callable[[], Outcome | layers.Unfinished]) -> Outcome | layers.Unfinished:
    """Call a plain handler in this thread, in its trace."""

    def inside() -> Outcome | layers.Unfinished:
        enter(run)
        return call()

    return copy_context().run(inside)


def _outcome_of(done: "asyncio.Future[Any]") -> Outcome | layers.Unfinished:
    if done.cancelled():
        return outcomes.GIVEN_BACK
    error = done.exception()
    if error is not None:
        return outcomes.of_exception(error)
    outcome: Outcome | layers.Unfinished = done.result()
    return outcome
