"""One circuit breaker as this worker sees it. Pure: the time, in monotonic seconds, comes in as an argument.

pybreaker keeps the state and counts failures. The rest is here: when an open breaker may be probed, one probe at a time, refused tasks that come back
in turns. The outcome of a call is reported after it ended, so that a cancellation need not count.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import pybreaker

from waggle.bus.breakers import State

STATES: Final = {pybreaker.STATE_CLOSED: State.CLOSED, pybreaker.STATE_OPEN: State.OPEN, pybreaker.STATE_HALF_OPEN: State.HALF_OPEN}
PROBE_WAIT_SECONDS: Final = 0.5  # that a task waits while a probe is under way
SPARE_SECONDS: Final = 5.0  # after which one more task may come for the probe: the one before it may have been cancelled
SPREAD_SECONDS: Final = 600.0  # over which waiting tasks come back at most, however many they are


@dataclass(frozen=True)
class Rules:
    """When a breaker opens, how long it stays open, how fast waiting tasks come back. Times are in seconds, `rate` is tasks per second."""

    threshold: int = 5
    reset: float = 30.0
    reset_most: float = 300.0
    rate: float = 50.0
    lease: float = 15.0

    def wait(self, again: int) -> float:
        """Seconds that it stays open after `again` failed probes in a row."""
        return float(max(self.reset, min(self.reset_most, self.reset * 2 ** min(again, 30))))


class Permit(Enum):
    """What a caller may do."""

    PASS = auto()
    PROBE = auto()
    WAIT = auto()


class _CallFailed(Exception):
    """Stands for a failed call inside pybreaker; the real exception is not changed."""


class Breaker:
    """`on_change(breaker, before, after, here)` is called once for each change of state; `here` is true when this worker decided it."""

    def __init__(self, name: str, rules: Rules, on_change: Callable[["Breaker", State, State, bool], None]) -> None:
        self.name, self._rules, self._on_change = name, rules, on_change
        self._machine = pybreaker.CircuitBreaker(fail_max=rules.threshold, throw_new_error_on_trip=False)
        self.trips, self.again, self.failures = 0, 0, 0
        self.error = ""
        self.opened = 0.0
        self.until = 0.0  # open: when it may be probed; half-open: when the lease of the probe ends
        self.closed: float | None = None  # when a probe or an operator last closed it
        self.times = 0  # how often it opened here: a call that began before that does not count
        self.token: str | None = None  # of the probe that runs here
        self.elsewhere: str | None = None  # of the probe that runs on another worker
        self.requested: str | None = None  # the token of this worker's last request for the probe; None after another worker changed the state
        self.requesting = False  # whether that request is under way
        self._line = 0.0  # when the last of the refused tasks comes back
        self._next_first = 0.0  # from then on one more task may come for the probe

    @property
    def state(self) -> State:
        return STATES[self._machine.current_state]

    @property
    def idle(self) -> bool:
        """Whether it can be evicted without loss."""
        return self.state is State.CLOSED and not self._machine.fail_counter

    def admit(self, now: float) -> Permit:
        if self.state is State.CLOSED:
            return Permit.PASS
        return Permit.PROBE if now >= self.until and not self.requesting and self.token is None else Permit.WAIT

    def turn(self, now: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds until a caller that was refused may come back.

        The first, and one each `SPARE_SECONDS`, comes when the breaker may be probed; the others follow one by one.
        """
        if self.state is State.OPEN and self.until > now >= self._next_first:
            self._next_first = now + SPARE_SECONDS
            return self.until - now
        pause = 1 / self._rules.rate
        earliest = max(self.until if self.state is State.OPEN else 0.0, now + PROBE_WAIT_SECONDS)
        self._line = max(self._line + pause, earliest)
        if self._line > earliest + SPREAD_SECONDS:
            return uniform(earliest, earliest + SPREAD_SECONDS) - now
        return self._line - now + uniform(0.0, pause)

    def succeeded(self, token: str | None) -> bool:
        """A call succeeded; True when that closed the breaker."""
        if not self._counts(token):
            return False
        before = self.state
        if before is State.CLOSED and not self._machine.fail_counter:
            return False
        self._machine.call(lambda: None)
        if before is State.CLOSED:
            return False
        self._close()
        self._notify(before)
        return True

    def failed(self, token: str | None, error: str, now: float) -> bool:
        """A call failed; True when that opened the breaker, for the first time or again."""
        if not self._counts(token):
            return False
        before = self.state
        if before is State.CLOSED:
            self.failures = self._machine.fail_counter + 1
        try:
            self._machine.call(_fail)
        except _CallFailed:
            self.error = error
        if self.state is not State.OPEN:
            return False
        self.again = 0 if before is State.CLOSED else self.again + 1
        if before is State.CLOSED:
            self.trips, self.opened = self.trips + 1, now
        self.token, self.until, self._next_first = None, now + self._rules.wait(self.again), now
        self._notify(before)
        return True

    def probe(self, token: str, now: float) -> None:
        """The probe of this token begins here."""
        before = self.state
        self.token, self.requested, self.until = token, token, now + self._rules.lease
        self._machine.half_open()
        self._notify(before)

    def released(self, token: str | None, now: float) -> bool:
        """A call ended without counting; True when it was the probe: the next caller may probe at once."""
        if token is None or token != self.token:
            return False
        before = self.state
        self.token, self.until, self._next_first = None, now, now
        self._machine.open()
        self._notify(before)
        return True

    def becomes(self, state: State, until: float, probe: str | None = None) -> None:
        """Another worker or an operator changed the state; `probe` is the token of their probe."""
        before, self.token, self.requested, self.elsewhere = self.state, None, None, probe
        match state:
            case State.CLOSED:
                self._machine.close()
                self._close()
            case State.OPEN:
                self._machine.open()
                self.until, self._next_first = until, 0.0
            case State.HALF_OPEN:
                self._machine.half_open()
                self.until = until
        self._notify(before, here=False)

    def _counts(self, token: str | None) -> bool:
        """The probe counts, and so do calls that began and ended while the breaker was closed. Other calls began before it opened."""
        return self.state is State.CLOSED or (token is not None and token == self.token)

    def _close(self) -> None:
        self.token, self.until, self.again, self.failures, self.error = None, 0.0, 0, 0, ""

    def _notify(self, before: State, *, here: bool = True) -> None:
        self.times += before is State.CLOSED and self.state is not State.CLOSED
        if before is not self.state:  # pybreaker reports open → open as well
            self._on_change(self, before, self.state, here)


def _fail() -> None:
    raise _CallFailed
