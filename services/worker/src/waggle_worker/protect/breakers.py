"""The circuit breakers of this worker, and what they have in common with the rest of the fleet.

Everything happens on the event loop. A trip is told through the bucket, so that one worker's protects all; the probe of a half-open breaker is a
compare-and-set there, so that there is one for the whole fleet. Without NATS each worker decides for itself, and no handler waits for the bucket
longer than `PATIENCE`.
"""

import asyncio
import math
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from nats.js.errors import APIError

from waggle.bus import breakers as bucket
from waggle.bus import subjects
from waggle.bus.breakers import ERROR_LENGTH, Changed, Entry, Record, State
from waggle.bus.connection import OUTAGE, Bus
from waggle.context import BreakerOpen
from waggle.errors import storable
from waggle.loops import wait_for
from waggle.settings.services import WorkerSettings
from waggle_worker import meters
from waggle_worker.protect.breaker import Admission, Breaker, Rules

log = structlog.get_logger()

EVERY: Final = 2.0  # seconds at most between two looks into the bucket; a write by somebody else is heard of at once
PATIENCE: Final = 1.0
MOST: Final = 10_000  # breakers that are remembered; beyond that idle ones are forgotten
REGISTERED: Final = 200  # names that a worker puts into the bucket before they ever opened, so that people can see them
WAITED_OUT: Final[tuple[type[Exception], ...]] = (*OUTAGE, Changed)
HOST: Final = "http:"  # how the breaker of a host begins: their names come from payloads

Intent = Literal["register", "change"]  # what a write is for: to be seen by people, or because others must know


class Breakers:
    """By name, and what has to be written to the bucket. `loop()` shares them; `open()` before it."""

    def __init__(self, bus: Bus, settings: WorkerSettings) -> None:
        self._bus = bus
        self._rules = Rules(settings.breaker_threshold, settings.breaker_reset, settings.breaker_reset_max, settings.breaker_release_rate, settings.lease)
        self._breakers: dict[str, Breaker] = {}
        self._revisions: dict[str, int] = {}
        self._unwritten: dict[str, Intent] = {}
        self._doubted: set[str] = set()  # whose record is not the one that is known here, though nothing new was read
        self._id, self._asks = secrets.token_hex(8), 0  # a probe's token begins with the worker's
        self._is_full, self._was_full = False, False  # whether the bucket refused a write, this time and the last
        self._made, self._seen = "", 0
        self._clock: tuple[datetime, float] | None = None
        self._shared = False  # whether the last look into the bucket succeeded
        self._registered = 0
        self._wake, self._closed, self._closing = asyncio.Event(), asyncio.Event(), False

    async def open(self) -> None:
        await self._bus.subscribe(subjects.BREAKERS_ALL, self._hinted)

    async def loop(self) -> None:
        """Until `close()`, or a cancellation: one that arrives together with an answer of NATS is lost on the way (wait_for of Python 3.11)."""
        is_last, task = False, asyncio.current_task()
        while not is_last and not (task and task.cancelling()):
            is_last = self._closing
            self._wake.clear()
            await self.share()
            if not is_last:
                await wait_for(self._wake, min(EVERY, self._rules.lease / 5))  # a probe is renewed here
        self._closed.set()

    async def close(self) -> None:
        """Write what is unwritten, and share no longer."""
        self._closing = True
        self._wake.set()
        await wait_for(self._closed, 2 * PATIENCE)

    async def share(self) -> None:
        """Read what others wrote, write what they should know. An outage is waited out: what is unwritten stays so."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self._read()
                self._was_full, self._is_full = self._is_full, False
                for name in list(self._doubted):
                    await self._look_up(name)
                for name, intent in list(self._unwritten.items()):
                    if (breaker := self._breakers.get(name)) is not None:  # it may have been forgotten in the meantime
                        await self._write(breaker, intent)
                await self._renew()
        except WAITED_OUT as error:
            if self._shared:
                log.info("the circuit breakers are this worker's own for now", error=str(error) or type(error).__name__)
            self._shared = False

    def of(self, name: str) -> Breaker:
        found = self._breakers.get(name)
        if found is None:
            if len(self._breakers) >= MOST:
                self._forget()
            found = self._breakers[name] = Breaker(name, self._rules, self._tell)
            if not name.startswith(HOST) and self._registered < REGISTERED and name not in self._revisions:
                self._registered += 1
                self._unwritten[name] = "register"
        return found

    def enter_now(self, breaker: Breaker) -> bool:
        """Whether a call may be made without asking anybody; False when a probe is due: `await probe()`. Raises BreakerOpen."""
        match breaker.admit(time.monotonic()):
            case Admission.PASS:
                return True
            case Admission.PROBE:
                return False
            case _:
                raise self._sent_away(breaker)

    async def probe(self, breaker: Breaker) -> str | None:
        """The token of the fleet's one probe, or None when the breaker was closed meanwhile. Raises BreakerOpen when somebody else has the probe."""
        self._asks += 1
        token, asked_at = f"{self._id}.{self._asks}", time.monotonic()
        breaker.asked, breaker.asking = token, True
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            won = await self._won(breaker, token)
        finally:
            breaker.asking = False
        if task and task.cancelling() > cancellations:  # it was lost on the way, see loop()
            self._soon(breaker)
            raise asyncio.CancelledError
        if won:
            breaker.probe(token, asked_at)  # the lease counts from before it was asked for
            if not self._shared:
                self._soon(breaker)
            return token
        if breaker.state is State.CLOSED:
            return None
        raise self._sent_away(breaker)

    def succeeded(self, breaker: Breaker, token: str | None) -> None:
        if breaker.succeeded(token):
            breaker.closed = time.monotonic()
            self._soon(breaker)

    def failed(self, breaker: Breaker, token: str | None, error: str) -> None:
        was = breaker.state
        if breaker.failed(token, storable(error)[:ERROR_LENGTH], time.monotonic()):
            if was is State.CLOSED:
                meters.breaker_trips(breaker.name).inc()
            self._soon(breaker)

    def released(self, breaker: Breaker, token: str | None) -> None:
        if breaker.released(token, time.monotonic()):
            self._soon(breaker)

    def _soon(self, breaker: Breaker) -> None:
        if self._breakers.get(breaker.name) is not breaker:  # it was forgotten while somebody was inside
            return
        self._unwritten[breaker.name] = "change"
        self._wake.set()

    def _sent_away(self, breaker: Breaker) -> BreakerOpen:
        meters.breaker_refused(breaker.name).inc()
        why = "a probe is under way" if breaker.state is State.HALF_OPEN else breaker.error or "it is open"
        return BreakerOpen(breaker.name, breaker.turn(time.monotonic()), why)

    async def _won(self, breaker: Breaker, token: str) -> bool:
        """Whether the probe is ours: by compare-and-set where the fleet can be asked, else because nobody here has it."""
        self._shared &= self._bus.connected
        if not self._shared:
            return True
        record = self._record(breaker, State.HALF_OPEN, token, time.monotonic() + self._rules.lease)
        try:
            async with asyncio.timeout(PATIENCE):
                revision = await bucket.put(self._bus, record, self._revisions.get(breaker.name, 0))
        except Changed:
            self._doubted.add(breaker.name)
            self._wake.set()
            return False
        except OUTAGE as error:
            self._shared &= isinstance(error, APIError)
            return breaker.state is not State.CLOSED and breaker.asked == token
        except BaseException:  # cancelled: the answer may have been yes
            if breaker.asked == token:
                self._soon(breaker)
            raise
        if self._revisions.get(breaker.name, 0) > revision:  # somebody took it away again while the answer was on its way
            return False
        self._revisions[breaker.name] = revision
        return True

    async def _read(self) -> None:
        asked = time.monotonic()
        look = await bucket.look(self._bus)
        self._clock = look.now, (asked + time.monotonic()) / 2
        if look.made != self._made or look.last < self._seen:
            self._new_bucket(look.made)
        if look.last > self._seen:
            async for entry in bucket.entries(self._bus, self._seen):
                self._apply(entry)
                self._seen = max(self._seen, entry.revision)
            self._seen = max(self._seen, look.last)
        self._shared = True

    def _new_bucket(self, made: str) -> None:
        """Its revisions are others, and what was in the old one is gone: what is open here is told again."""
        self._made, self._seen = made, 0
        self._revisions.clear()
        for name, breaker in self._breakers.items():
            if breaker.state is not State.CLOSED:
                self._unwritten[name] = "change"
            elif not name.startswith(HOST):
                self._unwritten.setdefault(name, "register")

    def _apply(self, entry: Entry) -> None:
        """Take over what somebody else wrote; what this worker wrote itself comes by as well."""
        record = entry.record
        if entry.revision <= self._revisions.get(record.name, 0):
            return
        self._revisions[record.name] = entry.revision
        if record.state is State.CLOSED and record.name not in self._breakers:
            return
        breaker = self.of(record.name)
        if self._stands(breaker, record):
            breaker.trips = max(breaker.trips, record.trips + 1)
            self._again(breaker)
            return
        if record.probe is not None and record.probe.startswith(self._id):
            if record.probe not in (breaker.token, breaker.asked if breaker.asking else None):  # nobody is at it any more
                self._again(breaker)
            return
        breaker.trips = record.trips
        self._unwritten.pop(record.name, None)
        if record.closed_at is not None:
            breaker.closed = self._monotonic(record.closed_at)
        if breaker.state is State.CLOSED and record.state is State.CLOSED:
            return
        known = breaker.opened if breaker.state is not State.CLOSED else -math.inf
        breaker.becomes(record.state, self._until(record.retry_at if record.state is State.OPEN else record.probe_until), record.probe)
        breaker.again, breaker.failures, breaker.error = record.again, record.failures, record.error or ""
        if record.opened_at is not None:
            theirs = min(self._monotonic(record.opened_at), time.monotonic())  # a server's clock may have gone back
            breaker.opened = max(known, theirs)  # what failed here after theirs is not closed by what closes theirs

    def _again(self, breaker: Breaker) -> None:
        """Ours is told again; a probe elsewhere that is known here is over, and the next one may follow."""
        if breaker.state is State.HALF_OPEN and breaker.token is None:
            breaker.becomes(State.OPEN, time.monotonic())
        self._soon(breaker)

    def _stands(self, breaker: Breaker, record: Record) -> bool:
        """What is open here is closed only by who found it well, or reset it, later than it opened."""
        if record.state is not State.CLOSED or breaker.state is State.CLOSED:
            return False
        return record.closed_at is None or self._monotonic(record.closed_at) < breaker.opened

    async def _write(self, breaker: Breaker, intent: Intent) -> None:
        """Write a breaker's state; when somebody else wrote first, theirs is looked at, and counts unless `_apply` says otherwise."""
        name, written = breaker.name, (breaker.state, breaker.token, breaker.until)
        known = self._revisions.get(name, 0)
        if intent == "register" and known:
            self._unwritten.pop(name, None)
            return
        if self._is_full and not known:
            return
        try:
            revision = await bucket.put(self._bus, self._record(breaker, breaker.state, breaker.token or breaker.elsewhere, breaker.until), known)
        except Changed:
            await self._look_up(name)
            if name in self._unwritten:
                self._wake.set()
            return
        except APIError as error:
            self._is_full = True
            if not self._was_full:
                log.info("the bucket of the circuit breakers takes no more", breaker=name, error=str(error))
            return
        self._revisions[name] = max(revision, self._revisions.get(name, 0))
        if written == (breaker.state, breaker.token, breaker.until):
            self._unwritten.pop(name, None)

    async def _look_up(self, name: str) -> None:
        """Somebody wrote, or the name was forgotten or deleted: what is there now, whatever was known."""
        known = self._revisions.get(name)
        found, revision = await bucket.newest(self._bus, name)
        self._doubted.discard(name)
        if self._revisions.get(name) != known or revision == known:  # it was learned in the meantime
            return
        self._revisions.pop(name, None)
        if found is None:
            self._revisions[name] = revision
        else:
            self._apply(found)

    async def _renew(self) -> None:
        """A probe that takes long keeps its place."""
        for breaker in list(self._breakers.values()):  # others come up while one is written
            if breaker.token is not None and not breaker.asking and breaker.until - time.monotonic() < self._rules.lease * 2 / 3:
                breaker.until = time.monotonic() + self._rules.lease
                await self._write(breaker, "change")

    def _record(self, breaker: Breaker, state: State, token: str | None, until: float) -> Record:
        return Record(
            name=breaker.name,
            state=state,
            failures=breaker.failures,
            trips=breaker.trips,
            again=breaker.again,
            opened_at=None if state is State.CLOSED else self._moment(breaker.opened),
            retry_at=self._moment(until) if state is State.OPEN else None,
            error=breaker.error or None,
            probe=token if state is State.HALF_OPEN else None,
            probe_until=self._moment(until) if state is State.HALF_OPEN else None,
            closed_at=self._moment(breaker.closed) if state is State.CLOSED and breaker.closed is not None else None,
        )

    def _moment(self, monotonic: float) -> datetime:
        """A monotonic time of this process by the clock of the bucket's server."""
        told, at = self._clock or (datetime.now(UTC), time.monotonic())
        return told + timedelta(seconds=monotonic - at)

    def _monotonic(self, moment: datetime) -> float:
        """The other way round."""
        told, at = self._clock or (datetime.now(UTC), time.monotonic())
        return at + (moment - told).total_seconds()

    def _until(self, moment: datetime | None) -> float:
        """When an open or half-open one may be probed; bounded, because a server's clock may have jumped."""
        now = time.monotonic()
        until = now if moment is None else self._monotonic(moment)
        return min(max(until, now), now + max(self._rules.reset_most, self._rules.reset, self._rules.lease))

    def _forget(self) -> None:
        """Half of them, so that it need not be done again soon: first what costs least to forget, the oldest of it first.

        Only an open breaker that may be probed still matters a little: who calls next finds out again. One that must not be called is kept.
        """
        now = time.monotonic()
        kept = {name for name, breaker in self._breakers.items() if name in self._unwritten or breaker.token is not None or breaker.asking}
        free = [breaker for name, breaker in self._breakers.items() if name not in kept and (breaker.state is State.CLOSED or breaker.until <= now)]
        free.sort(key=lambda breaker: (breaker.state is not State.CLOSED, not breaker.idle))
        for breaker in free[: MOST // 2]:
            del self._breakers[breaker.name]
            if breaker.state is not State.CLOSED:
                meters.breaker_open(breaker.name).dec()

    def _tell(self, breaker: Breaker, before: State, after: State, here: bool) -> None:
        meters.breaker_open(breaker.name).inc((after is not State.CLOSED) - (before is not State.CLOSED))
        if not here:  # it was told where it was decided
            log.debug("circuit breaker follows the fleet", breaker=breaker.name, state=after)
        elif after is State.CLOSED:
            log.info("circuit breaker closed", breaker=breaker.name)
        elif after is State.HALF_OPEN:
            log.info("circuit breaker half-open, one probe", breaker=breaker.name)
        elif before is State.HALF_OPEN and breaker.until <= time.monotonic():
            log.info("the probe of a circuit breaker said nothing, the next one probes", breaker=breaker.name)
        else:
            retry_in = round(breaker.until - time.monotonic(), 3)
            facts = {"error": breaker.error, "failures": breaker.failures, "trips": breaker.trips, "retry_in": retry_in}
            log.warning("circuit breaker opened", breaker=breaker.name, **facts)

    async def _hinted(self, _: object) -> None:
        self._wake.set()
