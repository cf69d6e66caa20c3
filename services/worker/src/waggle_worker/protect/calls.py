"""One call through a circuit breaker: `ctx.breaker(name)` in a handler, or the whole run of a type with `breaker=`.

What leaves the block decides: an exception is a failure of the service; Snooze, Reject, a cancellation and what the caller ignores do not count.
A timeout counts as a failure at once, not when the handler ends: a service that hangs is the usual case, and a thread may never end.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Final

from waggle.context import Reject, Retry, Snooze
from waggle.task import Done, Failed, Outcome
from waggle_worker import outcomes
from waggle_worker.protect.breaker import Breaker
from waggle_worker.protect.breakers import Breakers

NEUTRAL: Final = (Snooze, Reject)


class BreakerCall:
    """Enter it, then report once how the call ended. Everything runs on the event loop, except `with`, which is for threads."""

    __slots__ = ("_breaker", "_breakers", "_ignore", "_loop", "_name", "_open_calls", "_times", "_token")

    def __init__(
        self, breakers: Breakers, name: str, ignore: tuple[type[BaseException], ...], loop: asyncio.AbstractEventLoop, open_calls: "set[BreakerCall]"
    ) -> None:
        """`open_calls` holds the calls that a run is inside of; this one is among them while it lasts."""
        self._breakers, self._name, self._ignore, self._loop, self._open_calls = breakers, name, ignore, loop, open_calls
        self._breaker: Breaker | None = None  # while it is inside
        self._token: str | None = None
        self._times = 0  # how often the breaker had opened when it was entered

    def enter_now(self) -> bool:
        """Enter without asking the fleet; False when a probe is due: await `enter()`. Raises BreakerOpen."""
        breaker = self._breakers.of(self._name)
        if not self._breakers.enter_now(breaker):
            return False
        self._is_in(breaker, None)
        return True

    async def enter(self) -> None:
        """Raises BreakerOpen."""
        if not self.enter_now():
            breaker = self._breakers.of(self._name)
            self._is_in(breaker, await self._breakers.probe(breaker))

    def _is_in(self, breaker: Breaker, token: str | None) -> None:
        self._breaker, self._token, self._times = breaker, token, breaker.times
        self._open_calls.add(self)

    def _is_out(self) -> Breaker | None:
        """The breaker that the end counts for; None when it was reported before, or the breaker opened in between, even if it has closed again."""
        breaker, self._breaker = self._breaker, None
        self._open_calls.discard(self)
        is_old = breaker is not None and self._token is None and breaker.times != self._times
        return None if is_old else breaker

    def exited(self, error: BaseException | None) -> None:
        """The block was left. Only the first report counts."""
        if error is None:
            self._succeeded()
            return
        failures = [leaf for leaf in outcomes.leaves(error) if isinstance(leaf, Exception) and not isinstance(leaf, (*NEUTRAL, *self._ignore))]
        if not failures or isinstance(error, self._ignore) or not isinstance(error, Exception):
            self.neutral()
        else:
            said = outcomes.text_of(failures[0])
            self._failed(said if isinstance(failures[0], Retry) else f"{type(failures[0]).__name__}: {said}")

    def ended(self, outcome: Outcome) -> None:
        """The whole run was the block, with this outcome."""
        match outcome:
            case Done():
                self._succeeded()
            case Failed(error) if error.retryable:
                self._failed(error.message)
            case _:
                self.neutral()

    def timed_out(self, seconds: float) -> None:
        self._failed(f"no answer within the task's timeout of {seconds:g} s")

    def neutral(self) -> None:
        """Stopped from outside, or ended by something that says nothing about the service."""
        if (breaker := self._is_out()) is not None:
            self._breakers.released(breaker, self._token)

    def _succeeded(self) -> None:
        if (breaker := self._is_out()) is not None:
            self._breakers.succeeded(breaker, self._token)

    def _failed(self, error: str) -> None:
        if (breaker := self._is_out()) is not None:
            self._breakers.failed(breaker, self._token, error)

    async def __aenter__(self) -> "BreakerCall":
        if self._breaker is not None:
            raise RuntimeError(f"this use of the circuit breaker {self._name} has begun already: call ctx.breaker() again")
        await self.enter()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.exited(error)

    def __enter__(self) -> "BreakerCall":
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            raise TypeError(f'use `async with ctx.breaker("{self._name}")` in an async handler')
        return asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker ends
            self._loop.call_soon_threadsafe(self.exited, error)
