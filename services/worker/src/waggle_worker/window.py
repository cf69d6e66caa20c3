"""The window of suspects: how many tasks that were lost with a worker process may run in this one at the same time, and who waits how long.

The process may have died of one of them. So one runs first, and then one more for each that is proven: it ended without ending this process, or it has
run for its trial. Those that were lost least often come first, and of these the one that started last: what kills its process at once started last.
A suspect on its last try runs alone: its next loss would make it a dead letter. A suspect is here until its outcome is settled: before
that a crash loses it again.
docs/adr/0011 says why; docs/model/suspects.py checks it.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from waggle.store.tasks import PassedOver
from waggle.task import Fence
from waggle_worker.run import RUNNING, TIMED_OUT, Run

MOST_ON_TRIAL: Final = 64
TRIAL_SECONDS: Final = 0.25  # of one that was lost once; twice as long after each further loss
LONGEST_TRIAL_SECONDS: Final = 30.0
GATHER_SECONDS: Final = 0.1  # from the first suspect until one starts: those that were lost together seldom arrive together
CLOSES_AFTER_SECONDS: Final = 5.0  # without a suspect the window is as small again as at the start
SHORTEST_WAIT_SECONDS: Final = 0.02
GUESSED_SECONDS: Final = 2.0  # a wait up to this is what it should be; a longer one is a guess, so half of it
LONGEST_WAIT_SECONDS: Final = 30.0
SLACK_SECONDS: Final = 0.1  # from the time of a suspect that waits until a worker has its doorbell
USUAL_SECONDS: Final = 0.5  # that one that runs alone takes, as long as nobody knows better

Rank = tuple[bool, int]  # whether it is on its last try, and how often it was lost: who comes first


class Away(NamedTuple):
    """A suspect that waits: until when, and its rank."""

    until: float
    rank: Rank


class Seat:
    """The place of one suspect: kept for it while it is claimed (no fence yet), then until it is settled."""

    __slots__ = ("fence", "last_try", "lost_count", "proven", "run")

    def __init__(self, lost_count: int, *, last_try: bool) -> None:
        self.lost_count, self.last_try = lost_count, last_try
        self.fence: Fence | None = None
        self.run: Run | None = None
        self.proven = False


class Window:
    """The suspects of this worker. `is_pending(fence)`: whether a claimed task waits for its payload, or its outcome is on its way to Postgres."""

    def __init__(self, is_pending: Callable[[Fence], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_pending, self._clock = is_pending, clock
        self._here: dict[UUID, Seat] = {}
        self._away: dict[UUID, Away] = {}
        self._proven = Counter[int]()  # by how often they were lost
        self._pace: float | None = None  # seconds until one is proven
        self._usual = USUAL_SECONDS
        self._opens_at, self._last_seen = 0.0, float("-inf")

    def admit(self, suspects: Sequence[PassedOver]) -> tuple[list[UUID], dict[UUID, float]]:
        """Those that may be claimed now, and for all others how many seconds they wait."""
        now = self._clock()
        self._look(now)
        for one in suspects:
            self._away.pop(one.id, None)
        waiting = Counter(away.rank for away in self._away.values())
        admitted: list[UUID] = []
        waits: dict[UUID, float] = {}
        for one in sorted(suspects, key=_order):
            rank = _rank(one)
            if not waits and one.id not in self._here and min(waiting, default=rank) >= rank and self._fits(one, now):
                self._here[one.id] = Seat(one.lost_count, last_try=one.last_try)
                admitted.append(one.id)
            else:
                ahead = sum(count for other, count in waiting.items() if other <= rank)
                waits[one.id] = _wait(self._alone_in(one, ahead, now) if one.last_try or self._is_one_alone() else self._room_in(one, ahead, now))
                self._away[one.id] = Away(now + waits[one.id] + SLACK_SECONDS, rank)
                waiting[rank] += 1
        return admitted, waits

    def claimed(self, fence: Fence) -> None:
        """This one was claimed: it stays until it is settled."""
        self._here[fence.id].fence = fence

    def release(self, ids: Sequence[UUID]) -> None:
        """Those of them that were not claimed after all leave."""
        for task_id in ids:
            if (seat := self._here.get(task_id)) is not None and seat.fence is None:
                del self._here[task_id]

    def add(self, run: Run) -> None:
        """The run of a suspect that was claimed."""
        if (seat := self._here.get(run.claimed.id)) is not None:
            seat.run = run

    def ended(self, run: Run) -> None:
        """Its handler ends, and the process lives."""
        seat = self._here.get(run.claimed.id)
        if seat is None or seat.run is not run or not _began(run):
            return
        self._last_seen = self._clock()
        ran = self._last_seen - run.since
        if seat.last_try:
            self._usual = 0.5 * self._usual + 0.5 * ran
        if not seat.proven:
            self._prove(seat, ran)

    def _look(self, now: float) -> None:
        self._here = {task_id: seat for task_id, seat in self._here.items() if self._stays(seat)}
        self._away = {task_id: away for task_id, away in self._away.items() if away.until > now}
        for seat in self._here.values():
            if not seat.proven and seat.run is not None and _began(seat.run) and now - seat.run.since >= trial_seconds(seat.lost_count):
                self._prove(seat, trial_seconds(seat.lost_count))
        if not self._here and not self._away and now - self._last_seen > CLOSES_AFTER_SECONDS:
            self._proven.clear()
            self._pace, self._opens_at = None, now + GATHER_SECONDS
        self._last_seen = now

    def _stays(self, seat: Seat) -> bool:
        return seat.fence is None or (seat.run is not None and seat.run.is_open) or self._is_pending(seat.fence)

    def _prove(self, seat: Seat, seconds: float) -> None:
        seat.proven = True
        self._proven[seat.lost_count] += 1
        self._pace = seconds if self._pace is None else 0.7 * self._pace + 0.3 * seconds

    def _on_trial(self) -> int:
        return sum(not seat.proven for seat in self._here.values())

    def _size(self, lost_count: int) -> int:
        """How many may be on trial: what was lost less often proves nothing for what was lost more often."""
        return min(MOST_ON_TRIAL, 1 + sum(count for lost, count in self._proven.items() if lost >= lost_count))

    def _is_one_alone(self) -> bool:
        return any(seat.last_try for seat in self._here.values())

    def _fits(self, one: PassedOver, now: float) -> bool:
        if now < self._opens_at or self._is_one_alone():
            return False
        return not self._here if one.last_try else self._on_trial() < self._size(one.lost_count)

    def _alone_in(self, one: PassedOver, ahead: int, now: float) -> float:
        """About how many seconds until this one may run alone with `ahead` others before it, or until the one that runs alone has ended."""
        running = [now - seat.run.since for seat in self._here.values() if seat.run is not None]
        return max([self._usual, *running]) * (1 + ahead * one.last_try)

    def _room_in(self, one: PassedOver, ahead: int, now: float) -> float:
        """About how many seconds until there is room for this one with `ahead` others before it: the window doubles with each trial that is over."""
        trial = trial_seconds(one.lost_count)
        pace = trial if self._pace is None else min(trial, self._pace)
        began = [seat.run.since for seat in self._here.values() if not seat.proven and seat.run is not None]
        seconds = max(self._opens_at, min(began, default=now) + pace if self._here else now) - now
        size = min(MOST_ON_TRIAL, self._size(one.lost_count) + self._on_trial())
        while ahead >= size and size < MOST_ON_TRIAL:
            ahead, seconds, size = ahead - size, seconds + pace, min(MOST_ON_TRIAL, 2 * size)
        return seconds + pace * (ahead // size)


def trial_seconds(lost_count: int) -> float:
    """For how long a suspect runs until it counts as one that ended."""
    return min(LONGEST_TRIAL_SECONDS, TRIAL_SECONDS * 2.0 ** min(lost_count - 1, 10))


def _wait(guess: float) -> float:
    if guess <= GUESSED_SECONDS:
        return max(SHORTEST_WAIT_SECONDS, guess) + random.uniform(0.0, SHORTEST_WAIT_SECONDS)  # noqa: S311  # jitter, not secrecy
    longest = min(LONGEST_WAIT_SECONDS, max(GUESSED_SECONDS, guess / 2))
    return random.uniform(longest / 2, longest)  # noqa: S311  # jitter


def _began(run: Run) -> bool:
    return run.state is RUNNING or run.state is TIMED_OUT


def _rank(one: PassedOver) -> Rank:
    return one.last_try, one.lost_count


def _order(one: PassedOver) -> tuple[bool, int, float]:
    return *_rank(one), -one.started_at.timestamp()
