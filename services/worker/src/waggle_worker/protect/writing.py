"""Writing this worker's breakers into the bucket, each over the revision that is known of it."""

from collections.abc import Callable

import structlog
from nats.js.errors import APIError

from waggle.bus import breakers as bucket
from waggle.bus.breakers import Changed, Record, State
from waggle.bus.connection import Bus
from waggle_worker.protect.breaker import Breaker, Rules
from waggle_worker.protect.clock import ServerClock
from waggle_worker.protect.ledger import Intent, Ledger
from waggle_worker.protect.reading import Reader
from waggle_worker.protect.registry import Registry

log = structlog.get_logger()


class Writer:
    """Writes what the ledger says, and renews the probes that run here."""

    def __init__(self, bus: Bus, rules: Rules, registry: Registry, ledger: Ledger, clock: ServerClock, reader: Reader, now: Callable[[], float]) -> None:
        self._bus, self._rules, self._registry, self._ledger, self._clock, self._reader, self._now = bus, rules, registry, ledger, clock, reader, now
        self._is_full, self._was_full = False, False  # whether the bucket refused a new name, in this round and in the one before

    async def write(self) -> None:
        """Everything that is unwritten. Raises one of NATS_OUTAGE: then the rest stays unwritten."""
        self._was_full, self._is_full = self._is_full, False
        for name in list(self._ledger.doubted):
            await self._reader.look_up(name)
        for name, intent in list(self._ledger.unwritten.items()):
            if (breaker := self._registry.get(name)) is not None:  # it may have been evicted meanwhile
                await self._write(breaker, intent)

    async def renew(self) -> None:
        """A probe that takes long keeps its place."""
        for breaker in self._registry:
            if breaker.token is not None and not breaker.requesting and breaker.until - self._now() < self._rules.lease * 2 / 3:
                breaker.until = self._now() + self._rules.lease
                await self._write(breaker, "change")

    async def claim_probe(self, breaker: Breaker, token: str) -> int:
        """Write that this worker probes; returns the revision. Raises Changed when another worker wrote first, or one of NATS_OUTAGE."""
        record = self._record(breaker, State.HALF_OPEN, token, self._now() + self._rules.lease)
        return await bucket.put(self._bus, record, self._ledger.revision(breaker.name))

    async def _write(self, breaker: Breaker, intent: Intent) -> None:
        """Write one breaker. When another worker wrote first, its record is read, and counts unless `Reader.apply` decides otherwise."""
        name, written = breaker.name, (breaker.state, breaker.token, breaker.until)
        known = self._ledger.revision(name)
        if intent == "register" and known:
            self._ledger.unwritten.pop(name, None)
            return
        if self._is_full and not known:
            return
        record = self._record(breaker, breaker.state, breaker.token or breaker.elsewhere, breaker.until)
        try:
            revision = await bucket.put(self._bus, record, known)
        except Changed:
            await self._reader.look_up(name)
            if name in self._ledger.unwritten:
                self._ledger.wake.set()
            return
        except APIError as error:
            self._is_full = True
            if not self._was_full:
                log.info("circuit breaker bucket full", breaker=name, error=str(error))
            return
        self._ledger.wrote(name, revision)
        if written == (breaker.state, breaker.token, breaker.until):
            self._ledger.unwritten.pop(name, None)

    def _record(self, breaker: Breaker, state: State, token: str | None, until: float) -> Record:
        moment = self._clock.moment
        return Record(
            name=breaker.name,
            state=state,
            failures=breaker.failures,
            trips=breaker.trips,
            again=breaker.again,
            opened_at=None if state is State.CLOSED else moment(breaker.opened),
            retry_at=moment(until) if state is State.OPEN else None,
            error=breaker.error or None,
            probe=token if state is State.HALF_OPEN else None,
            probe_until=moment(until) if state is State.HALF_OPEN else None,
            closed_at=moment(breaker.closed) if state is State.CLOSED and breaker.closed is not None else None,
        )
