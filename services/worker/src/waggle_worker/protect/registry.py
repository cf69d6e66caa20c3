"""The breakers that this worker remembers, by name. Beyond a limit those that matter least are evicted."""

from collections.abc import Callable, Iterator
from typing import Final

import structlog

from waggle.bus.breakers import State
from waggle_worker import metrics
from waggle_worker.protect.breaker import Breaker, Rules
from waggle_worker.protect.ledger import Ledger

log = structlog.get_logger()

BREAKER_LIMIT: Final = 10_000


class Registry:
    """Makes breakers, logs their changes, evicts them. `now` gives monotonic seconds."""

    def __init__(self, rules: Rules, ledger: Ledger, now: Callable[[], float]) -> None:
        self._rules, self._ledger, self._now = rules, ledger, now
        self._breakers: dict[str, Breaker] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._breakers

    def __iter__(self) -> Iterator[Breaker]:
        return iter(list(self._breakers.values()))  # a copy: breakers are added while a caller iterates

    def __len__(self) -> int:
        return len(self._breakers)

    def get(self, name: str) -> Breaker | None:
        return self._breakers.get(name)

    def of(self, name: str) -> Breaker:
        """The breaker of this name; made when it is not there."""
        found = self._breakers.get(name)
        if found is None:
            if len(self._breakers) >= BREAKER_LIMIT:
                self._evict()
            found = self._breakers[name] = Breaker(name, self._rules, self._on_change)
            self._ledger.register(name)
            metrics.breaker(name)
        return found

    def share(self, breaker: Breaker) -> None:
        """Let the fleet know its state; not that of one that was evicted while a call was inside."""
        if self._breakers.get(breaker.name) is breaker:
            self._ledger.change(breaker.name)

    def _evict(self) -> None:
        """Evict half of them, so that it is rare: first those whose loss costs least, the oldest first.

        An open breaker that may be probed matters a little: the next caller finds out again. One that must not be called is kept.
        """
        now = self._now()
        kept = {name for name, breaker in self._breakers.items() if name in self._ledger.unwritten or breaker.token is not None or breaker.requesting}
        free = [breaker for name, breaker in self._breakers.items() if name not in kept and (breaker.state is State.CLOSED or breaker.until <= now)]
        free.sort(key=lambda breaker: (breaker.state is not State.CLOSED, not breaker.idle))
        for breaker in free[: BREAKER_LIMIT // 2]:
            del self._breakers[breaker.name]
            if breaker.state is not State.CLOSED:
                metrics.breaker_open(breaker.name, breaker.state).dec()

    def _on_change(self, breaker: Breaker, before: State, after: State, here: bool) -> None:
        if before is not State.CLOSED:
            metrics.breaker_open(breaker.name, before).dec()
        if after is not State.CLOSED:
            metrics.breaker_open(breaker.name, after).inc()
        if not here:  # the worker that decided it has logged it
            log.debug("circuit breaker follows the fleet", breaker=breaker.name, state=after)
        elif after is State.CLOSED:
            log.info("circuit breaker closed", breaker=breaker.name)
        elif after is State.HALF_OPEN:
            log.info("circuit breaker half-open", breaker=breaker.name)
        elif before is State.HALF_OPEN and breaker.until <= self._now():
            log.info("circuit breaker probe inconclusive", breaker=breaker.name)
        else:
            retry_in = round(breaker.until - self._now(), 3)
            facts = {"error": breaker.error, "failures": breaker.failures, "trips": breaker.trips, "retry_in": retry_in}
            log.warning("circuit breaker opened", breaker=breaker.name, **facts)
