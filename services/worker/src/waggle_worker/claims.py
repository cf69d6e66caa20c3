"""Claiming: doorbells of all lanes, picked by weight for the slots that are free, claimed in one statement, then acked.

A claim without an answer starts nothing: its rows come back by reconciliation, its doorbells by redelivery.
"""

import asyncio
import random
import time
from collections.abc import Sequence, Set
from typing import Final
from uuid import UUID

import structlog

from waggle.bus import pull
from waggle.bus.connection import Bus
from waggle.bus.pull import Held, Pull
from waggle.loops import wait_for
from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.postgres import OUTAGE
from waggle.task import Priority
from waggle_worker import metrics
from waggle_worker.lease import Lease
from waggle_worker.payloads import Payloads
from waggle_worker.picker import WEIGHTS, Picker
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler

log = structlog.get_logger()

BATCH: Final = 256
IN_FLIGHT: Final = 2
WORTH_A_CLAIM: Final = 100  # slots; with fewer a claim waits for the one under way, because small statements cost most
TICK: Final = 0.25
HELD_AT_MOST: Final = 5.0  # seconds that a doorbell is kept without a slot; the server's ack_wait is twice that
AHEAD: Final = 0.05  # seconds of work that are asked for ahead of the slots
AHEAD_OF_ALL_SLOTS: Final = 0.25  # and for as many doorbells as there are slots: handlers that began together often end together
MOST_AHEAD: Final = 1024
OUTAGE_PAUSE: Final = 0.5


class Claims:
    """The pulls of one worker and the claims that are under way."""

    def __init__(
        self, connection: Connection, bus: Bus, lease: Lease, runs: Runs, payloads: Payloads, settler: Settler, queues: Sequence[str], wake: asyncio.Event
    ) -> None:
        self._connection, self._bus, self._lease, self._runs, self._payloads, self._settler = connection, bus, lease, runs, payloads, settler
        self._lanes = {priority: [Pull(bus, queue, priority, wake.set) for queue in queues] for priority in Priority}
        self._serving = dict(self._lanes)  # those of queues that are not paused
        self._paused: Set[str] = frozenset()
        self._picker = Picker()
        self._wake = wake
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._slots_taken = 0  # by claims under way
        self._retry: list[Held] = []
        self._rate, self._counted, self._ticked = 0.0, 0, time.monotonic()
        self._not_before = 0.0
        self._batch = BATCH  # less after claims without an answer: over a slow link a batch of large payloads may be too much for one
        self._claiming: set[UUID] = set()
        self._draining = False

    @property
    def under_way(self) -> set[UUID]:
        """Tasks that are being claimed, or were and wait for their payload."""
        return self._claiming | self._payloads.ids

    async def open(self) -> None:
        for lane in self._all():
            await lane.open()

    async def loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await wait_for(self._wake, TICK)
                self._wake.clear()
                if time.monotonic() - self._ticked >= TICK:
                    await self._tick()
                while (slots := self._usable()) and any(lane.buffer for lanes in self._serving.values() for lane in lanes):
                    await self._free.acquire()
                    bells = self._pick(min(self._batch, slots))
                    if not bells:  # they were given back in the meantime
                        self._free.release()
                        continue
                    self._slots_taken += len(bells)
                    group.create_task(self._claim(bells))
                    await self._top_up()
                await self._top_up()

    async def pause(self, queues: Set[str]) -> None:
        """Serve every queue but these. What is held of a paused one goes back at once; what runs, or is being claimed, goes on."""
        if queues == self._paused or self._draining:
            return
        paused, resumed = queues - self._paused, self._paused - queues
        self._paused = queues
        self._serving = {priority: [lane for lane in lanes if lane.queue not in queues] for priority, lanes in self._lanes.items()}
        await asyncio.gather(*(lane.close() for lane in self._all() if lane.queue in paused))
        await self._give_back(older_than=HELD_AT_MOST)
        await asyncio.gather(*(lane.open_again() for lane in self._all() if lane.queue in resumed))
        self._wake.set()

    async def close(self) -> None:
        """Claim nothing any more; what is held, and what still comes, goes back."""
        self._draining = True
        await asyncio.gather(*(lane.close() for lane in self._all()))
        await self._give_back(older_than=0.0)

    def _all(self) -> list[Pull]:
        return [lane for lanes in self._lanes.values() for lane in lanes]

    def _able(self) -> bool:
        """Whether anything may be claimed now, slots aside."""
        return not (self._draining or not self._lease.live or self._settler.full or time.monotonic() < self._not_before)

    @property
    def _slots_left(self) -> int:
        return max(0, self._runs.free - self._slots_taken - self._payloads.count)

    def _usable(self) -> int:
        """Slots that a claim may fill now."""
        if not self._able():
            return 0
        free = self._slots_left
        return free if free >= WORTH_A_CLAIM or not self._slots_taken else 0

    async def _top_up(self) -> None:
        """Also while every slot is taken, as far ahead as the rate says: a lane whose buffer runs empty loses its share to the others.

        Where nothing is held, the first answer takes the slot: so the order in which lanes are asked is left to chance, by weight.
        """
        if not self._able():
            return
        ahead = max(self._rate * AHEAD, min(self._runs.slots, self._rate * AHEAD_OF_ALL_SLOTS))
        want = max(min(self._slots_left, BATCH), min(MOST_AHEAD, int(ahead)))
        for priority in sorted(self._serving, key=lambda priority: -(random.random() ** (1 / WEIGHTS[priority]))):  # noqa: S311  # fairness, not secrecy
            for lane in self._serving[priority]:
                await lane.top_up(want)

    def _pick(self, slots: int) -> list[Held]:
        shares = self._picker.share([sum(len(lane.buffer) for lane in self._serving[priority]) for priority in Priority], slots)
        picked: list[Held] = []
        for priority, share in zip(Priority, shares, strict=True):
            lanes = sorted(self._serving[priority], key=lambda lane: len(lane.buffer))
            for left, lane in zip(range(len(lanes), 0, -1), lanes, strict=True):
                got = lane.take(-(-share // left))
                picked += got
                share -= len(got)  # noqa: PLW2901  # what is left of it for the lanes that hold more
        return picked

    async def _claim(self, bells: list[Held]) -> None:
        ids = list({bell.id for bell in bells})
        self._claiming.update(ids)
        worker_id = self._lease.id
        try:
            claimed = await tasks.claim(self._connection, ids, worker_id)
            self._batch = min(BATCH, self._batch * 2)
            for task in claimed:
                if not task.payload:
                    self._payloads.add(task, worker_id)
                elif self._lease.covers(worker_id):
                    self._runs.start(task, worker_id)
            got = {task.id for task in claimed}
            passed = await self._passed_over([task_id for task_id in ids if task_id not in got])
            await pull.ack(self._bus, [bell for bell in bells if bell.id not in passed])
            self._retry += [bell for bell in bells if bell.id in passed]
        except OUTAGE as error:
            if time.monotonic() >= self._not_before:
                log.warning("claim without an answer, what it took comes back by reconciliation", count=len(ids), error=str(error) or type(error).__name__)
            self._not_before = time.monotonic() + OUTAGE_PAUSE
            self._batch = max(1, self._batch // 2)
        finally:
            self._claiming.difference_update(ids)
            self._slots_taken -= len(bells)
            self._free.release()
            self._wake.set()

    async def _passed_over(self, ids: list[UUID]) -> set[UUID]:
        """Of the tasks that the claim did not return, those that are claimable after all: their doorbells must not be acked."""
        if not ids:
            return set()
        passed = await tasks.still_claimable(self._connection, ids)
        metrics.UNCLAIMED.inc(len(ids) - len(passed))
        return passed

    async def _tick(self) -> None:
        """Four times a second: measure the rate, give back what waits too long."""
        now = time.monotonic()
        rate = (self._runs.started - self._counted) / (now - self._ticked)
        self._rate = max(rate, self._rate * 0.7)
        self._counted, self._ticked = self._runs.started, now
        metrics.RUNNING.set(self._runs.running)
        await self._give_back(older_than=0.0 if self._draining else HELD_AT_MOST)

    async def _give_back(self, older_than: float) -> None:
        now = time.monotonic()
        held, self._retry = self._retry, []
        for lane in self._all():
            late = now if lane.queue in self._paused else now - older_than
            while lane.buffer and lane.buffer[0].since <= late:
                held.append(lane.buffer.popleft())
        if held:
            metrics.GIVEN_BACK.inc(len(held))
            await pull.give_back(self._bus, held)
