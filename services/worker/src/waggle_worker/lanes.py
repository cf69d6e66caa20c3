"""The doorbells that a worker holds: one pull a lane, shared out by weight. What waits too long, or belongs to a paused queue, goes back."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence, Set
from typing import Final

from waggle.bus import pull
from waggle.bus.connection import Bus
from waggle.bus.pull import Held, Pull
from waggle.task import Priority
from waggle_worker import metrics
from waggle_worker.picker import WEIGHTS, Picker

HELD_SECONDS: Final = 5.0  # that a doorbell is kept without a slot; the server's ack_wait is twice that


class Lanes:
    """The pulls of one worker. `rang` is called whenever a doorbell came."""

    def __init__(self, bus: Bus, queues: Sequence[str], rang: Callable[[], None]) -> None:
        self._bus = bus
        self._lanes = {priority: [Pull(bus, queue, priority, rang) for queue in queues] for priority in Priority}
        self._serving = dict(self._lanes)  # those of queues that are not paused
        self._paused: Set[str] = frozenset()
        self._picker = Picker()
        self._put_back: list[Held] = []
        self._closed = False

    @property
    def any_waiting(self) -> bool:
        return any(lane.buffer for lanes in self._serving.values() for lane in lanes)

    async def open(self) -> None:
        for lane in self._all():
            await lane.open()

    async def close(self) -> None:
        """Hold nothing any more; what still comes goes back with the next `give_back`."""
        self._closed = True
        await asyncio.gather(*(lane.close() for lane in self._all()))
        await self.give_back()

    async def pause(self, queues: Set[str]) -> None:
        """Serve every queue but these. What is held of a paused one goes back at once."""
        if queues == self._paused or self._closed:
            return
        paused, resumed = queues - self._paused, self._paused - queues
        self._paused = queues
        self._serving = {priority: [lane for lane in lanes if lane.queue not in queues] for priority, lanes in self._lanes.items()}
        await asyncio.gather(*(lane.close() for lane in self._all() if lane.queue in paused))
        await self.give_back()
        await asyncio.gather(*(lane.open_again() for lane in self._all() if lane.queue in resumed))

    def pick(self, slots: int) -> list[Held]:
        """At most `slots` doorbells: by weight among priorities, evenly among the queues of one priority."""
        shares = self._picker.share([sum(len(lane.buffer) for lane in self._serving[priority]) for priority in Priority], slots)
        picked: list[Held] = []
        for priority, share in zip(Priority, shares, strict=True):
            lanes = sorted(self._serving[priority], key=lambda lane: len(lane.buffer))
            for left, lane in zip(range(len(lanes), 0, -1), lanes, strict=True):
                got = lane.take(-(-share // left))
                picked += got
                share -= len(got)  # noqa: PLW2901  # what is left of it for the lanes that hold more
        return picked

    async def top_up(self, want: int) -> None:
        """Request up to `want` doorbells of each lane, in random order by weight: while none is held, the first response takes the slot."""
        for priority in sorted(self._serving, key=lambda priority: -(random.random() ** (1 / WEIGHTS[priority]))):  # noqa: S311  # fairness, not secrecy
            for lane in self._serving[priority]:
                await lane.top_up(want)

    async def ack(self, doorbells: list[Held]) -> None:
        await pull.ack(self._bus, doorbells)

    def put_back(self, doorbells: list[Held]) -> None:
        """These go back with the next `give_back`."""
        self._put_back += doorbells

    async def give_back(self) -> None:
        """Let other workers have what was put back, what waits too long, and everything of a lane that is closed."""
        now = time.monotonic()
        held, self._put_back = self._put_back, []
        for lane in self._all():
            late = now if self._closed or lane.queue in self._paused else now - HELD_SECONDS
            while lane.buffer and lane.buffer[0].since <= late:
                held.append(lane.buffer.popleft())
        if held:
            metrics.GIVEN_BACK.inc(len(held))
            await pull.give_back(self._bus, held)

    def _all(self) -> list[Pull]:
        return [lane for lanes in self._lanes.values() for lane in lanes]
