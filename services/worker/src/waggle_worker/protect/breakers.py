"""The circuit breakers of this worker as calls use them: whether a call may be made, and how it ended.

Everything happens on the event loop. A trip is shared, so that one worker's protects all; the probe of a half-open breaker is a compare-and-set in the
bucket, so that the fleet makes one.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

from waggle.bus.breakers import ERROR_LENGTH, State
from waggle.bus.connection import Bus
from waggle.context import BreakerOpen
from waggle.errors import storable
from waggle.settings.services import WorkerSettings
from waggle_worker import metrics
from waggle_worker.protect.breaker import Breaker, Permit, Rules
from waggle_worker.protect.ledger import Ledger
from waggle_worker.protect.registry import Registry
from waggle_worker.protect.sharing import Sharing


class Breakers:
    """Admits calls and counts their ends; what follows is shared by `sharing`. `now` gives monotonic seconds."""

    def __init__(self, bus: Bus, settings: WorkerSettings, now: Callable[[], float] = time.monotonic) -> None:
        rules = Rules(settings.breaker_threshold, settings.breaker_reset, settings.breaker_reset_max, settings.breaker_release_rate, settings.lease)
        self._id, self._requests, self._now = secrets.token_hex(8), 0, now  # a probe's token begins with the worker's
        self.ledger = Ledger()
        self.registry = Registry(rules, self.ledger, now)
        self.sharing = Sharing(bus, rules, self.registry, self.ledger, self._id, now)

    def of(self, name: str) -> Breaker:
        return self.registry.of(name)

    def enter_now(self, breaker: Breaker) -> bool:
        """Whether a call may be made at once; False when a probe is due: `await probe()`. Raises BreakerOpen."""
        match breaker.admit(self._now()):
            case Permit.PASS:
                return True
            case Permit.PROBE:
                return False
            case _:
                raise self._refused(breaker)

    async def probe(self, breaker: Breaker) -> str | None:
        """The token of the fleet's one probe, or None when the breaker was closed meanwhile. Raises BreakerOpen when another worker has the probe."""
        self._requests += 1
        token, requested_at = f"{self._id}.{self._requests}", self._now()
        breaker.requested, breaker.requesting = token, True
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            won = await self.sharing.wins_probe(breaker, token)
        finally:
            breaker.requesting = False
        if task and task.cancelling() > cancellations:  # the cancellation was lost on the way, see Sharing.loop
            self.registry.share(breaker)
            raise asyncio.CancelledError
        if won:
            breaker.probe(token, requested_at)  # the lease counts from before the request
            if not self.sharing.in_touch:
                self.registry.share(breaker)
            return token
        if breaker.state is State.CLOSED:
            return None
        raise self._refused(breaker)

    def succeeded(self, breaker: Breaker, token: str | None) -> None:
        if breaker.succeeded(token):
            breaker.closed = self._now()
            self.registry.share(breaker)

    def failed(self, breaker: Breaker, token: str | None, error: str) -> None:
        was = breaker.state
        if breaker.failed(token, storable(error)[:ERROR_LENGTH], self._now()):
            if was is State.CLOSED:
                metrics.breaker_trips(breaker.name).inc()
            self.registry.share(breaker)

    def released(self, breaker: Breaker, token: str | None) -> None:
        """The call ended without saying anything about the service."""
        if breaker.released(token, self._now()):
            self.registry.share(breaker)

    def _refused(self, breaker: Breaker) -> BreakerOpen:
        metrics.breaker_refused(breaker.name).inc()
        why = "a probe is under way" if breaker.state is State.HALF_OPEN else breaker.error or "it is open"
        return BreakerOpen(breaker.name, breaker.turn(self._now()), why)
