"""Reading what other workers wrote into the bucket, and what of it counts here."""

import math
from collections.abc import Callable

from waggle.bus import breakers as bucket
from waggle.bus.breakers import Entry, Record, State
from waggle.bus.connection import Bus
from waggle_worker.protect.breaker import Breaker, Rules
from waggle_worker.protect.clock import ServerClock
from waggle_worker.protect.ledger import Ledger
from waggle_worker.protect.registry import Registry


class Reader:
    """Takes over records of other workers. `worker_id` is how the tokens of this worker's probes begin."""

    def __init__(self, bus: Bus, rules: Rules, registry: Registry, ledger: Ledger, clock: ServerClock, worker_id: str, now: Callable[[], float]) -> None:
        self._bus, self._registry, self._ledger, self._clock, self._worker_id, self._now = bus, registry, ledger, clock, worker_id, now
        self._longest = max(rules.reset_most, rules.reset, rules.lease)  # seconds that a breaker waits for anything
        self.made = ""  # when the bucket was made that was read last: another one has revisions of its own
        self._seen = 0

    async def read(self) -> None:
        """What is new since the last time. Raises one of NATS_OUTAGE."""
        requested = self._now()
        look = await bucket.snapshot(self._bus)
        self._clock.set(look.now, (requested + self._now()) / 2)
        if look.made != self.made or look.last < self._seen:
            self.made, self._seen = look.made, 0
            self._ledger.start_over({breaker.name: breaker.state is State.CLOSED for breaker in self._registry})
        if look.last > self._seen:
            async for entry in bucket.entries(self._bus, self._seen):
                self.apply(entry)
                self._seen = max(self._seen, entry.revision)
            self._seen = max(self._seen, look.last)

    async def look_up(self, name: str) -> None:
        """Another worker wrote, or the name expired or was deleted: take what is there now."""
        known = self._ledger.revisions.get(name)
        found, revision = await bucket.newest(self._bus, name)
        self._ledger.doubted.discard(name)
        if self._ledger.revisions.get(name) != known or revision == known:  # it was learned in the meantime
            return
        self._ledger.revisions.pop(name, None)
        if found is None:
            self._ledger.revisions[name] = revision
        else:
            self.apply(found)

    def apply(self, entry: Entry) -> None:
        """Take over a record; those that this worker wrote come by as well."""
        record = entry.record
        if entry.revision <= self._ledger.revision(record.name):
            return
        self._ledger.revisions[record.name] = entry.revision
        if record.state is State.CLOSED and record.name not in self._registry:
            return
        breaker = self._registry.of(record.name)
        if self._stays_open(breaker, record):
            breaker.trips = max(breaker.trips, record.trips + 1)
            self._write_again(breaker)
        elif record.probe is not None and record.probe.startswith(self._worker_id):
            if record.probe not in (breaker.token, breaker.requested if breaker.requesting else None):  # the probe has ended
                self._write_again(breaker)
        else:
            self._take_over(breaker, record)

    def _take_over(self, breaker: Breaker, record: Record) -> None:
        breaker.trips = record.trips
        self._ledger.unwritten.pop(record.name, None)
        if record.closed_at is not None:
            breaker.closed = self._clock.monotonic(record.closed_at)
        if breaker.state is State.CLOSED and record.state is State.CLOSED:
            return
        known = breaker.opened if breaker.state is not State.CLOSED else -math.inf
        until = record.retry_at if record.state is State.OPEN else record.probe_until
        breaker.becomes(record.state, self._clock.bounded(until, self._longest), record.probe)
        breaker.again, breaker.failures, breaker.error = record.again, record.failures, record.error or ""
        if record.opened_at is not None:
            theirs = min(self._clock.monotonic(record.opened_at), self._now())  # a server's clock may have gone back
            breaker.opened = max(known, theirs)  # what failed here after theirs is not closed by what closes theirs

    def _stays_open(self, breaker: Breaker, record: Record) -> bool:
        """What is open here is closed only by a probe that succeeded, or a reset, later than it opened."""
        if record.state is not State.CLOSED or breaker.state is State.CLOSED:
            return False
        return record.closed_at is None or self._clock.monotonic(record.closed_at) < breaker.opened

    def _write_again(self, breaker: Breaker) -> None:
        """The bucket should hold what is known here. A probe of another worker, if one is known, is over: the next may follow."""
        if breaker.state is State.HALF_OPEN and breaker.token is None:
            breaker.becomes(State.OPEN, self._now())
        self._registry.share(breaker)
