"""Tasks that were claimed ahead of the slots that are about to be free, so that quick handlers do not wait for each claim.

That is done only while all slots are free again within QUICK_SECONDS, as far as the last moments tell. A task that has waited WAIT_SECONDS goes back,
without cost: then handlers take longer than those before them did, and none is claimed ahead until they are quick again. docs/adr/0014 says why.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from waggle.task import Claimed, Fence
from waggle_worker.lease import Lease
from waggle_worker.payloads import Payloads
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler

AHEAD_LIMIT: Final = 256
QUICK_SECONDS: Final = 0.012  # in which as many handlers end as there are slots
WAIT_SECONDS: Final = 0.025  # that a claimed task waits for a slot, at most
SAMPLE_SECONDS: Final = 0.005
SAMPLES: Final = 5  # over which the rate of this moment is taken


class Pace:
    """Whether handlers are quick at this moment, by how many ended in the last ones: those that began together may end together, once."""

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._clock = slots, clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=SAMPLES)

    def is_quick(self, ended: int) -> bool:
        """Whether all slots are free again within QUICK_SECONDS; `ended` is how many handlers have until now."""
        now = self._clock()
        if now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, ended))
        since, before = self._samples[0]
        return len(self._samples) == SAMPLES and (ended - before) * QUICK_SECONDS >= self._slots * (now - since)


@dataclass(slots=True, eq=False)
class Unstarted:
    """A claimed task without a slot."""

    claimed: Claimed
    worker_id: str
    until: float


class Ahead:
    """Claimed tasks in their order. `start` takes each slot that became free."""

    def __init__(self, lease: Lease, runs: Runs, payloads: Payloads, settler: Settler) -> None:
        self._lease, self._runs, self._payloads, self._settler = lease, runs, payloads, settler
        self._ready: deque[Unstarted] = deque()
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(runs.slots)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        return len(self._ready)

    @property
    def ids(self) -> set[UUID]:
        return {one.claimed.id for one in self._ready}

    @property
    def fences(self) -> list[Fence]:
        return [Fence(one.claimed.id, one.claimed.attempt, one.worker_id, one.claimed.started_at) for one in self._ready]

    def room(self) -> int:
        """How many tasks may be claimed beyond the free slots now; 0 until half of them are: small statements cost most."""
        most = min(AHEAD_LIMIT, 2 * self._runs.slots) if self._pace.is_quick(self._runs.ended) else 0
        room = most - len(self._ready)
        return room if room >= most / 2 else 0

    def holds(self, fence: Fence) -> bool:
        """Whether this attempt waits for a slot."""
        return any((one.claimed.id, one.claimed.attempt) == (fence.id, fence.attempt) for one in self._ready)

    def add(self, claimed: Claimed, worker_id: str, free: int) -> None:
        """Start a claimed task if slots are `free` for it, or as soon as one is."""
        if free > 0 and not self._ready:
            self._start(claimed, worker_id)
            return
        self._ready.append(Unstarted(claimed, worker_id, self._loop.time() + WAIT_SECONDS))
        if self._timer is None:
            self._timer = self._loop.call_later(WAIT_SECONDS, self._look)

    def start(self, free: int) -> None:
        """Start as many of those that wait as there are `free` slots."""
        while self._ready and free > 0:
            one = self._ready.popleft()
            self._start(one.claimed, one.worker_id)
            free -= 1

    def stop_task(self, task_id: UUID, attempt: int) -> None:
        """This attempt was ended elsewhere: it is not started."""
        self._ready = deque(one for one in self._ready if (one.claimed.id, one.claimed.attempt) != (task_id, attempt))

    def give_back(self, until: float = float("inf")) -> None:
        """Those that have waited until this time of the loop go back: by default all."""
        while self._ready and self._ready[0].until <= until:
            one = self._ready.popleft()
            if self._lease.covers(one.worker_id):  # otherwise it belongs to others now
                self._settler.give_back(one.claimed, one.worker_id)

    def _start(self, claimed: Claimed, worker_id: str) -> None:
        if not claimed.payload:
            self._payloads.add(claimed, worker_id)
        elif self._lease.covers(worker_id):
            self._runs.start(claimed, worker_id)

    def _look(self) -> None:
        self._timer = None
        self.give_back(self._loop.time())
        if self._ready:
            self._timer = self._loop.call_at(self._ready[0].until, self._look)
