"""The doorbells that a worker holds: one pull a lane, shared out by weight. What waits too long, or belongs to a paused queue, goes back."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Container, Sequence, Set
from typing import Final
from uuid import UUID

from waggle.bus import pull
from waggle.bus.connection import Bus
from waggle.bus.pull import Held, Part, Pull
from waggle.task import Priority
from waggle_worker import metrics
from waggle_worker.picker import WEIGHTS, Picker

HELD_SECONDS: Final = 5.0  # that a doorbell is kept without a slot; the server's ack_wait is twice that


class Lanes:
    """The pulls of one worker. `rang` is called whenever a doorbell came."""

    def __init__(self, bus: Bus, queues: Sequence[str], rang: Callable[[], None]) -> None:
        self.bus = bus
        self._lanes = {priority: [Pull(bus, queue, priority, rang) for queue in queues] for priority in Priority}
        self._serving = dict(self._lanes)  # those of queues that are not paused
        self._paused: Set[str] = frozenset()
        self._picker = Picker()
        self._put_back: list[Held] = []
        self._closed = False

    @property
    def any_waiting(self) -> bool:
        return any(lane.waiting for lanes in self._serving.values() for lane in lanes)

    @property
    def any_returned(self) -> bool:
        """Whether a doorbell of several tasks came that was delivered before: it has to be sifted."""
        return any(lane.returned for lanes in self._serving.values() for lane in lanes)

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

    def pick(self, slots: int) -> list[Part]:
        """At most `slots` tasks: by weight among priorities, evenly among the queues of one priority."""
        shares = self._picker.share([sum(lane.waiting for lane in self._serving[priority]) for priority in Priority], slots)
        picked: list[Part] = []
        for priority, share in zip(Priority, shares, strict=True):
            if not share:
                continue
            lanes = sorted(self._serving[priority], key=lambda lane: lane.waiting)
            for left, lane in zip(range(len(lanes), 0, -1), lanes, strict=True):
                got = min(-(-share // left), lane.waiting)
                picked += lane.take(got)
                share -= got  # noqa: PLW2901  # what is left of it for the lanes that hold more
        return picked

    async def sift(self, read: Callable[[list[UUID]], Awaitable[Container[UUID]]]) -> None:
        """Of the doorbells that were delivered before, leave out the tasks that cannot be claimed; ack those that carry no other. `read` says which can."""
        returned = [(lane, bell) for lanes in self._serving.values() for lane in lanes for bell in lane.returned]
        claimable = await read([task for _, bell in returned for task in bell.ids])
        await pull.ack(self.bus, [bell for lane, bell in returned if not bell.given_back and not lane.sifted(bell, claimable)])

    async def top_up(self, want: int, most: int | None) -> None:
        """Request up to `want` tasks of each lane, in random order by weight: while none is held, the first response takes the slot."""
        for priority in sorted(self._serving, key=lambda priority: -(random.random() ** (1 / WEIGHTS[priority]))):  # noqa: S311  # fairness, not secrecy
            for lane in self._serving[priority]:
                await lane.top_up(want, most)

    async def decided(self, parts: list[Part], passed: Set[UUID]) -> None:
        """These tasks are claimed, or cannot be: ack the doorbells that are done with. A doorbell of a task that was passed over goes back."""
        done: list[Held] = []
        for bell, ids in parts:
            bell.open -= len(ids)
            if passed and not passed.isdisjoint(ids):
                bell.passed = True
            if bell.is_done:
                (self._put_back if bell.passed else done).append(bell)
        await pull.ack(self.bus, done)

    async def give_back(self) -> None:
        """Let other workers have what was put back, what waits too long, and everything of a lane that is closed."""
        now = time.monotonic()
        held, self._put_back = self._put_back, []
        for lane in self._all():
            late = now if self._closed or lane.queue in self._paused else now - HELD_SECONDS
            held += lane.give_up(bell for bell in (*lane.buffer, *lane.returned) if bell.since <= late)
        await self._give_back(held)

    async def give_back_rests(self, most: int) -> None:
        """Without a free slot: let other workers have the newest doorbells of several tasks in each lane that holds more than `most` tasks."""
        held: list[Held] = []
        for lane in self._all():
            surplus, rests = lane.waiting - most, list[Held]()
            for bell in reversed(lane.buffer):
                if surplus <= 0:
                    break
                if len(bell.ids) > 1 and not bell.open:
                    rests.append(bell)
                    surplus -= bell.left
            if rests:
                await lane.ask_anew()  # or they come straight back
                held += lane.give_up(bell for bell in reversed(rests) if not bell.given_back)  # they come back in the order in which they go
        await self._give_back(held)

    async def let_go(self) -> None:
        """Let other workers have all that waits, and withdraw what is requested."""
        held: list[Held] = []
        for lane in self._all():
            await lane.ask_anew()
            held += lane.give_up(bell for bell in (*lane.buffer, *lane.returned) if not bell.open)
        await self._give_back(held)

    async def _give_back(self, held: list[Held]) -> None:
        if held:
            metrics.GIVEN_BACK.inc(len(held))
            await pull.give_back(self.bus, held)

    def _all(self) -> list[Pull]:
        return [lane for lanes in self._lanes.values() for lane in lanes]
