"""A model of how workers share one circuit breaker: the record in the bucket, each worker's view of it, writes on their way, faults.

There are no numbers. A revision is `fresh` (the worker knows the record's) or not; a write on its way `fits` or not; times of openings and closings
are ranks; a wait or a lease is over or not. `without` names the rules that are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from walk import Broken

C, O, H = "closed", "open", "half-open"  # noqa: E741
CLEAN, OWN = "asked the fleet", "own"  # how a worker got its probe; an OWN one is an exception, or another worker may probe too
NEVER = -1
Token = tuple[int, str] | None  # the worker, and "now": its last probe, "old": an earlier one, "gone": that of a dead worker


class Record(NamedTuple):
    state: str = C
    probe: Token = None
    over: bool = False  # open: it may be probed; half-open: the lease has ended
    opened: int = NEVER
    closed: int = NEVER  # when a probe succeeded or an operator reset it; NEVER: neither is known


class Worker(NamedTuple):
    state: str = C
    probe: Token = None
    over: bool = False
    opened: int = NEVER
    closed: int = NEVER
    holds: str = ""
    intent: str = ""
    fresh: bool = False
    shared: bool = False
    asks: str = ""  # "yes", or "void": another worker's record arrived in between
    doubts: bool = False
    wiped: bool = False  # the bucket was replaced, and the worker has not noticed
    moved: bool = False  # it has changed since its last write was sent


class Flight(NamedTuple):
    """A write on its way. One that its worker gave up may still arrive."""

    worker: int
    kind: str  # "write" or "ask"
    record: Record
    intent: str
    fits: bool
    answer: str = ""
    newest: bool = False
    waits: bool = True


class State(NamedTuple):
    record: Record | None
    workers: tuple[Worker, ...]
    flights: tuple[Flight, ...]
    faults: int
    failures: int
    resets: int
    reset: int  # when it was last reset, unless an exception allows the reset to be lost
    excused: bool = False  # after a wipe, nobody knows whose probe it is


Step = tuple[str, bool, State]


@dataclass(frozen=True)
class Scenario:
    faults: int
    failures: int
    resets: int
    workers: int = 2
    kinds: tuple[str, ...] = ("lost", "late", "cancel", "away", "die", "forget", "wipe", "nothing")


class Breakers:
    def __init__(self, scenario: Scenario, without: frozenset[str] = frozenset()) -> None:
        self.s, self.without = scenario, without

    def initial(self) -> State:
        return State(None, (Worker(intent="register", fresh=True),) * self.s.workers, (), self.s.faults, self.s.failures, self.s.resets, NEVER)

    def done(self, state: State) -> bool:
        is_closed = state.record is None or state.record.state == C
        return is_closed and not state.flights and all(w.state == C and not w.intent for w in state.workers)

    def steps(self, state: State) -> list[Step]:
        found = [*self._time(state), *self._operator(state)]
        for w in range(len(state.workers)):
            found += [*self._calls(state, w), *self._shares(state, w), *self._ends(state, w)]
        for flight in state.flights:
            found += self._flies(state, flight)
        return [(label, is_fault, _dense(after)) for label, is_fault, after in found]

    def _may(self, state: State, kind: str) -> bool:
        return state.faults > 0 and kind in self.s.kinds

    # ---- calls and probes

    def _calls(self, state: State, w: int) -> Iterator[Step]:
        me = state.workers[w]
        if me.state == C:
            if state.failures:
                opened = me._replace(state=O, over=False, intent="changed", opened=_now(state), closed=NEVER, moved=True)
                yield f"{w} trips", True, _with(state, w, opened, failures=state.failures - 1)
        elif (me.over or "waits for leases" in self.without) and not me.holds and not me.asks:
            state = _older_tokens(state, w)
            me = state.workers[w]
            if me.shared:
                record = Record(H, (w, "now"), opened=me.opened)
                yield f"{w} asks", False, _fly(_with(state, w, me._replace(asks="yes")), Flight(w, "ask", record, "", me.fresh))
            else:
                yield f"{w} probes on its own", False, _with(state, w, _probing(me, w, OWN))

    def _ends(self, state: State, w: int) -> Iterator[Step]:
        me = state.workers[w]
        if not me.holds:
            return
        rest = me._replace(holds="", probe=None, moved=True)
        yield f"{w}'s probe succeeds", False, _with(state, w, rest._replace(state=C, over=False, opened=NEVER, closed=_now(state), intent="changed"))
        rest = rest._replace(state=O, over=False, intent="changed")
        if state.failures:
            yield f"{w}'s probe fails", True, _with(state, w, rest, failures=state.failures - 1)
        if self._may(state, "nothing"):
            yield f"{w}'s probe has no result", True, _with(state, w, rest._replace(over=True), faults=state.faults - 1)

    # ---- reading and writing

    def _stands(self, me: Worker, record: Record) -> bool:
        """An open breaker is closed only by a success or a reset that is newer than the opening."""
        later = record.closed >= me.opened and "closings have a time" not in self.without
        return me.state != C and record.state == C and not later and "trips stand" not in self.without

    def _read(self, state: State, w: int) -> Worker:
        me, record = state.workers[w], state.record
        if record is None or me.fresh:
            return me
        me = me._replace(fresh=True)
        if record.state == H and record.probe in ((w, "now"), (w, "old")):
            is_held = record.probe == (w, "now") and (me.holds or me.asks == "yes")
            if is_held or "released" in self.without:
                return me
            return _again(me)
        me = me._replace(asks=me.asks and "void")
        if self._stands(me, record):
            return _again(me)
        if record.state == C and record.closed < me.opened and me.state != C:
            raise Broken(f"{w} closes without a success or a reset")
        if record.state != C and record.opened < state.reset:
            raise Broken(f"{w} opens again what was reset")
        opened = max(me.opened, record.opened) if record.state != C else NEVER
        closed = max(me.closed, record.closed) if record.state == me.state == C else record.closed
        return me._replace(state=record.state, probe=record.probe, over=record.over, opened=opened, closed=closed, holds="", intent="")

    def _shares(self, state: State, w: int) -> Iterator[Step]:
        me = state.workers[w]
        if any(f.worker == w and f.kind == "write" and f.waits for f in state.flights):
            return
        me = me._replace(shared=True)
        if me.wiped:
            told = me.intent or ("register" if me.state == C else "changed")
            me = me._replace(wiped=False, fresh=state.record is None, intent=me.intent if "written again" in self.without else told)
        if me.doubts:
            me = me._replace(doubts=False, fresh=me.fresh or state.record is None)
        me = self._read(_with(state, w, me), w)
        self._agrees(state, me, w)
        if me.intent == "register" and state.record is not None:
            me = me._replace(intent="")
        after = _with(state, w, me)
        if me.intent or me.holds:
            record = Record(me.state, me.probe if me.state == H else None, me.over, me.opened, me.closed)
            after = _fly(_with(state, w, me._replace(moved=False)), Flight(w, "write", record, me.intent, me.fresh))
        yield f"{w} shares", False, after

    def _agrees(self, state: State, me: Worker, w: int) -> None:
        record = state.record
        if record is None or not me.fresh or me.intent or me.holds or me.asks:
            return
        if record.state != me.state:
            raise Broken(f"{w} has read everything and has nothing to write: it is {me.state}, the record {record.state}")

    # ---- the bucket

    def _flies(self, state: State, f: Flight) -> Iterator[Step]:
        if not f.answer:
            yield f"the {f.kind} of {f.worker} arrives ({f.record.state})", False, self._arrives(state, f)
        elif f.waits:
            yield f"the {f.kind} of {f.worker} is answered: {f.answer}", False, self._answered(state, f)
        if not f.waits:
            return
        rest = state._replace(faults=state.faults - 1)
        if self._may(state, "lost"):
            yield f"FAULT the {f.kind} of {f.worker}: {'the answer' if f.answer else 'all of it'} is lost", True, self._given_up(rest, f, None)
        if self._may(state, "late") and not f.answer:
            yield f"FAULT the {f.kind} of {f.worker} is late", True, self._given_up(rest, f, f._replace(waits=False))
        if self._may(state, "cancel") and f.kind == "ask":
            me = state.workers[f.worker]
            kept = None if f.answer else f._replace(waits=False)
            handed = me._replace(asks="", intent=me.intent if me.asks == "void" or "released" in self.without else "changed")
            yield f"FAULT {f.worker}'s request is cancelled", True, _with(_swap(rest, f, kept), f.worker, handed)

    def _arrives(self, state: State, f: Flight) -> State:
        was, now = state.record, f.record
        if not f.fits and "compare and set" not in self.without:
            return _swap(state, f, f._replace(answer="changed") if f.waits else None)
        if was is not None:
            prober = state.workers[was.probe[0]] if was.state == H and was.probe and was.probe[1] == "now" else None
            is_another = was.probe is not None and was.probe[0] != f.worker and was.probe != now.probe
            if prober and is_another and prober.holds == CLEAN and not was.over and not state.excused:
                raise Broken(f"{f.worker} overwrites the probe of another, whose lease has not ended")
            if was.state != C and now.state == C and now.closed < was.opened:
                raise Broken(f"{f.worker} closes the record without a success or a reset")
        if now.state != C and now.opened < state.reset:
            raise Broken(f"{f.worker} opens again a record that was reset")
        state = _swap(state, f, None)._replace(record=now)
        return _fly(_bumped(state), f._replace(answer="ok", newest=True)) if f.waits else _bumped(state)

    def _answered(self, state: State, f: Flight) -> State:
        state, me = _swap(state, f, None), state.workers[f.worker]
        if f.answer == "ok":
            if f.kind == "write":
                is_told = not me.moved or "changed meanwhile" in self.without
                holds = CLEAN if me.holds and f.newest and f.record.probe == me.probe else me.holds
                return _with(state, f.worker, me._replace(fresh=me.fresh or f.newest, intent="" if is_told else me.intent, holds=holds))
            won = me.asks == "yes" or f.newest
            return _with(state, f.worker, _probing(me._replace(fresh=f.newest), f.worker, CLEAN) if won else me._replace(asks=""))
        if f.kind == "ask":
            return _with(state, f.worker, me._replace(asks="", doubts="a refused probe reads again" not in self.without))
        if state.record is None:
            return _with(state, f.worker, me._replace(fresh=True))
        after = self._read(_with(state, f.worker, me._replace(fresh=False)), f.worker)
        return _with(state, f.worker, after)

    def _given_up(self, state: State, f: Flight, kept: Flight | None) -> State:
        """The worker does not learn the outcome of its write."""
        state, me = _swap(state, f, kept), state.workers[f.worker]
        if f.kind == "write":
            return _with(state, f.worker, me._replace(shared=False, intent="" if "unknown is not done" in self.without else me.intent))
        me = me._replace(shared=False)
        refused = me.asks == "void" or me.state == C or "unknown is not refused" in self.without
        return _with(state, f.worker, me._replace(asks="") if refused else _probing(me, f.worker, OWN))

    # ---- time, operators, faults

    def _time(self, state: State) -> Iterator[Step]:
        record = state.record
        if record is not None and record.state != C and not record.over and self._may_end(state, record):
            over = tuple(w._replace(over=True) if w.fresh and w.state == record.state and not w.holds else w for w in state.workers)
            ended = state._replace(workers=over, record=record._replace(over=True))
            yield "the wait or lease of the record ends", False, _no_longer_clean(ended) if record.state == H else ended
        for w, me in enumerate(state.workers):
            as_the_record = me.fresh and record is not None and record.state == me.state and (not me.intent or me.probe == record.probe != None)  # noqa: E711
            if me.state != C and not me.over and not me.holds and not as_the_record and "leases end" not in self.without:
                yield f"the wait of {w} ends", False, _with(state, w, me._replace(over=True))

    def _may_end(self, state: State, record: Record) -> bool:
        """A lease ends unless its worker is alive and connected: then it is renewed, or the result of the probe is written."""
        if record.state == O or record.probe is None or record.probe[1] != "now":
            return record.state == O or "leases end" not in self.without
        prober = state.workers[record.probe[0]]
        return not (prober.shared and (prober.holds or prober.asks or prober.intent)) and "leases end" not in self.without

    def _operator(self, state: State) -> Iterator[Step]:
        if state.resets and state.record is not None:
            now = _now(state)
            after = _no_longer_clean(state._replace(record=Record(closed=now), resets=state.resets - 1, reset=now))
            yield "RESET", True, after if "a reset bumps" in self.without else _bumped(after)
        rest = state._replace(faults=state.faults - 1, reset=NEVER)
        is_silent = not state.flights and not any(w.holds or w.asks or w.intent or w.wiped for w in state.workers)
        if self._may(state, "forget") and state.record is not None and is_silent:
            forgotten = tuple(w._replace(fresh=False) for w in state.workers)
            yield "FAULT the name is deleted", True, rest._replace(record=None, workers=forgotten)
        if self._may(state, "wipe"):
            wiped = _no_longer_clean(rest._replace(record=None, excused=True, workers=tuple(w._replace(wiped=True) for w in state.workers)))
            yield "FAULT the bucket is wiped", True, _bumped(wiped)
        for w, me in enumerate(state.workers):
            if self._may(state, "away") and me.shared:
                yield f"FAULT {w} is cut off", True, _with(state, w, me._replace(shared=False), faults=state.faults - 1)
            if self._may(state, "die"):
                yield f"FAULT {w} dies, and another one begins", True, _gone(state._replace(faults=state.faults - 1), w)


def _again(me: Worker) -> Worker:
    """It writes its own state; another worker's probe that it knows of is over."""
    me = me._replace(intent="changed", moved=True)
    return me if me.state != H or me.holds else me._replace(state=O, over=True, probe=None)


def _probing(me: Worker, w: int, how: str) -> Worker:
    return me._replace(state=H, probe=(w, "now"), over=False, holds=how, asks="")


def _with(state: State, w: int, worker: Worker, **changed: Any) -> State:
    return state._replace(workers=(*state.workers[:w], worker, *state.workers[w + 1 :]), **changed)


def _fly(state: State, flight: Flight) -> State:
    return state._replace(flights=(*state.flights, flight))


def _swap(state: State, old: Flight, new: Flight | None) -> State:
    rest = list(state.flights)
    rest.remove(old)
    return state._replace(flights=(*rest, *([new] if new else [])))


def _bumped(state: State) -> State:
    """The record has a new revision: no worker knows it yet, and no write on its way fits."""
    flights = tuple(f._replace(fits=False, newest=False) for f in state.flights)
    return state._replace(workers=tuple(w._replace(fresh=False) for w in state.workers), flights=flights)


def _no_longer_clean(state: State) -> State:
    return state._replace(workers=tuple(w._replace(holds=w.holds and OWN) for w in state.workers))


def _renamed(state: State, w: int, name: str) -> State:
    def of(token: Token) -> Token:
        return (w, name) if token and token[0] == w and token[1] != "gone" else token

    record = state.record and state.record._replace(probe=of(state.record.probe))
    flights = tuple(f._replace(record=f.record._replace(probe=of(f.record.probe))) for f in state.flights)
    return state._replace(record=record, flights=flights, workers=tuple(x._replace(probe=of(x.probe)) for x in state.workers))


def _older_tokens(state: State, w: int) -> State:
    return _renamed(state, w, "old")


def _gone(state: State, w: int) -> State:
    flights = tuple(f._replace(waits=False) if f.worker == w else f for f in state.flights if f.worker != w or not f.answer)
    return _with(_renamed(state._replace(flights=flights), w, "gone"), w, Worker())


def _now(state: State) -> int:
    return max(_ranks(state), default=NEVER) + 1


def _ranks(state: State) -> set[int]:
    held = [*state.workers, *[f.record for f in state.flights], state.record or Record()]
    return {one.opened for one in held} | {one.closed for one in held} | {state.reset}


def _dense(state: State) -> State:
    """One representation for states that differ only in the numbers of their ranks."""
    flights = state.flights if len(state.flights) < 2 else tuple(sorted(state.flights, key=repr))
    found = _ranks(state) - {NEVER}
    if max(found, default=NEVER) == len(found) - 1:
        return state._replace(flights=flights)
    ranks = {rank: number for number, rank in enumerate(sorted(found))} | {NEVER: NEVER}

    def of(one: Any) -> Any:
        return one._replace(opened=ranks[one.opened], closed=ranks[one.closed])

    flights = tuple(f._replace(record=of(f.record)) for f in flights)
    workers = tuple(map(of, state.workers))
    return state._replace(record=state.record and of(state.record), workers=workers, flights=flights, reset=ranks[state.reset])
