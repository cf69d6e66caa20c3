"""Claiming: as many tasks as there are free slots are claimed in one statement; doorbells whose tasks are all decided are then acked.

A claim without an answer starts nothing: its rows come back by reconciliation, its doorbells by redelivery.
"""

import asyncio
import time
from collections.abc import Set
from typing import Final
from uuid import UUID

import structlog

from waggle.bus import events
from waggle.bus.events import TaskEvent
from waggle.bus.pull import Part
from waggle.loops import wait_for
from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import Claimed, Status
from waggle.telemetry import traces
from waggle_worker import layers, metrics, tracing
from waggle_worker.ahead import Ahead
from waggle_worker.lanes import Lanes
from waggle_worker.lease import Lease
from waggle_worker.payloads import Payloads
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler
from waggle_worker.suspects import Suspects

log = structlog.get_logger()

CLAIM_BATCH: Final = 256
CLAIMS_IN_FLIGHT: Final = 2
WORTH_A_CLAIM: Final = 100  # slots; with fewer a claim waits for the one under way, because small statements cost most
TICK_SECONDS: Final = 0.25
REST_TICK_SECONDS: Final = 0.05  # instead, while doorbells are held without a free slot
REST_SECONDS: Final = 0.5  # of work that is kept without a free slot; more of it goes back, for workers that have one
AHEAD_SECONDS: Final = 0.05  # of work that is requested ahead of the slots
AHEAD_OF_ALL_SLOTS_SECONDS: Final = 0.25  # and for as many doorbells as there are slots: handlers that began together often end together
AHEAD_LIMIT: Final = 1024
CLAIM_RETRY_SECONDS: Final = 0.5
SLOWED_TURNS: Final = 3  # times that all slots would have been free again at the rate of before, since the last handler ended


class Claims:
    """The claims of one worker. `wake` is set when a slot became free or a doorbell came."""

    def __init__(
        self, connection: Connection, lanes: Lanes, lease: Lease, runs: Runs, payloads: Payloads, ahead: Ahead, settler: Settler, wake: asyncio.Event
    ) -> None:
        self._connection, self._lanes, self._lease, self._runs, self._payloads, self._settler = connection, lanes, lease, runs, payloads, settler
        self._ahead, self._wake = ahead, wake
        self._suspects = Suspects(connection, lanes.bus, runs.window, runs.handlers, self._start)
        self._free = asyncio.Semaphore(CLAIMS_IN_FLIGHT)
        self._slots_taken = 0  # by claims under way
        self._rate, self._counted, self._ticked = 0.0, 0, time.monotonic()
        self._looked = self._ticked  # for rests to give back; as long as nothing waits there are none
        self._ended, self._ended_at = 0, self._ticked  # how many handlers had ended when the last one did
        self._not_before = 0.0
        self._batch = CLAIM_BATCH  # less after claims without an answer: over a slow link a batch of large payloads may be too much for one
        self._claiming: set[UUID] = set()
        self._no_answer: set[UUID] = set()  # tasks of claims that failed, until the worker has compared itself with the database
        self._closed = False

    @property
    def under_way(self) -> set[UUID]:
        """Tasks that are being claimed, or were and wait for their payload or a slot."""
        return self._claiming | self._payloads.ids | self._ahead.ids

    @property
    def unanswered(self) -> set[UUID]:
        """Tasks that may have been claimed without starting here."""
        return self._claiming | self._no_answer

    def compared(self, lease: float) -> None:
        """The worker has compared itself with the database: what it claimed without an answer more than a lease ago has gone back."""
        if time.monotonic() > self._not_before + lease:
            self._no_answer.clear()

    async def loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await wait_for(self._wake, REST_TICK_SECONDS if self._waits_for_slots else TICK_SECONDS)
                self._wake.clear()
                await self._look_back()
                if self._have_slowed():
                    self._rate = 0.0
                    await self._lanes.let_go()
                if self._lanes.any_returned and self._usable():
                    await self._sift()
                while (slots := self._usable()) and self._lanes.any_waiting:
                    await self._free.acquire()
                    parts = self._lanes.pick(min(self._batch, slots))
                    if not parts:  # they were given back in the meantime
                        self._free.release()
                        continue
                    taken = sum([len(ids) for _, ids in parts])
                    self._slots_taken += taken
                    group.create_task(self._claim(parts, taken))
                    await self._top_up()
                await self._top_up()

    async def pause(self, queues: Set[str]) -> None:
        """Claim nothing of these queues. Tasks that run or are being claimed continue."""
        await self._lanes.pause(queues)
        self._wake.set()

    async def close(self) -> None:
        """Claim nothing any more; the doorbells go back."""
        self._closed = True
        await self._lanes.close()

    def _may_claim(self) -> bool:
        return not (self._closed or not self._lease.live or self._settler.full or time.monotonic() < self._not_before)

    @property
    def _slots_free(self) -> int:
        """Slots that no run and no payload takes; claims under way may."""
        return self._runs.free - self._payloads.count

    @property
    def _slots_left(self) -> int:
        return max(0, self._slots_free - self._slots_taken)

    def slot_freed(self) -> None:
        """Tasks that were claimed ahead come first."""
        self._ahead.start(self._slots_free)
        self._wake.set()

    def _usable(self) -> int:
        """Slots that a claim may fill now, those that are about to be free among them."""
        if not self._may_claim():
            return 0
        free = max(0, self._slots_free - self._slots_taken + self._ahead.room())
        return free if free >= WORTH_A_CLAIM or not self._slots_taken else 0

    async def _top_up(self) -> None:
        """Also while every slot is taken, as far ahead as the rate says: a lane whose buffer runs empty loses its share to the others."""
        if not self._may_claim():
            return
        ahead = max(self._rate * AHEAD_SECONDS, min(self._runs.slots, self._rate * AHEAD_OF_ALL_SLOTS_SECONDS))
        want = max(min(self._slots_left, CLAIM_BATCH), min(AHEAD_LIMIT, int(ahead)))
        await self._lanes.top_up(want, None if self._slots_left else max(want, self._kept))

    @property
    def _waits_for_slots(self) -> bool:
        return self._lanes.any_waiting and not self._slots_left

    @property
    def _kept(self) -> int:
        """Tasks of each lane that may wait here without a free slot: what ends soon, as far as the last quarter of a second tells."""
        return int(max(self._rate, (self._runs.ended - self._counted) / TICK_SECONDS) * REST_SECONDS)

    def _have_slowed(self) -> bool:
        """Whether every slot is taken by handlers that take much longer than those before them: what this worker holds and requests is too much."""
        now = time.monotonic()
        if self._runs.ended != self._ended:
            self._ended, self._ended_at = self._runs.ended, now
        silent = now - self._ended_at
        return self._waits_for_slots and silent > REST_TICK_SECONDS and silent * self._rate > SLOWED_TURNS * self._runs.slots

    async def _claimable(self, ids: list[UUID]) -> set[UUID]:
        return {one.id for one in await tasks.still_claimable(self._connection, ids)}

    async def _sift(self) -> None:
        """Doorbells that were delivered before: look which of their tasks still wait."""
        try:
            await self._lanes.sift(self._claimable)
        except POSTGRES_OUTAGE:
            self._not_before = time.monotonic() + CLAIM_RETRY_SECONDS

    async def _claim(self, parts: list[Part], taken: int) -> None:
        ids = list(dict.fromkeys(task_id for _, part in parts for task_id in part))
        self._claiming.update(ids)
        worker_id = self._lease.id
        began = time.time_ns()
        try:
            claimed = await tasks.claim(self._connection, ids, worker_id, lost=(), harmless=self._suspects.harmless)
            self._batch = min(CLAIM_BATCH, self._batch * 2)
            metrics.waited(claimed)
            if traces.SWITCH.recorder is not None:
                tracing.received(claimed, began)
            if len(claimed) > self._slots_free:  # those for which there is a slot are the first of their lanes
                place = {task_id: number for number, task_id in enumerate(ids)}
                claimed.sort(key=lambda task: place[task.id])
            for task in claimed:
                self._start(task, worker_id)
            if events.wants(self._lanes.bus, Status.RUNNING):
                at = events.now()
                await events.tell(self._lanes.bus, [TaskEvent(task.id, task.type, task.queue, Status.RUNNING, task.attempt, at) for task in claimed])
            got = {task.id for task in claimed}
            passed = await self._passed_over([task_id for task_id in ids if task_id not in got], worker_id)
            await self._lanes.decided(parts, passed)
        except POSTGRES_OUTAGE as error:
            if time.monotonic() >= self._not_before:
                log.warning("claim without an answer", count=len(ids), error=str(error) or type(error).__name__)
            self._not_before = time.monotonic() + CLAIM_RETRY_SECONDS
            self._no_answer.update(ids)
            self._batch = max(1, self._batch // 2)
        finally:
            self._claiming.difference_update(ids)
            self._slots_taken -= taken
            self._free.release()
            self._wake.set()

    def _start(self, task: Claimed, worker_id: str) -> None:
        self._ahead.add(task, worker_id, self._slots_free)

    async def _passed_over(self, ids: list[UUID], worker_id: str) -> set[UUID]:
        """Of the tasks that the claim did not return, those that are claimable after all: their doorbells must not be acked. Suspects get their turn."""
        if not ids:
            return set()
        passed = await tasks.still_claimable(self._connection, ids)
        metrics.UNCLAIMED.inc(len(ids) - len(passed))
        left = {one.id for one in passed}
        if suspects := self._suspects.among(passed):
            left -= {one.id for one in suspects}
            left |= await self._suspects.claim(suspects, worker_id)
        return left

    async def _look_back(self) -> None:
        """Four times a second: measure the rate, give back what waits too long. Sooner: what other workers may have slots for."""
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            rate = (self._runs.ended - self._counted) / (now - self._ticked)
            self._rate = max(rate, self._rate * 0.7) if self._runs.running or self._lanes.any_waiting else 0.0  # what comes next may be something else
            self._counted, self._ticked = self._runs.ended, now
            metrics.RUNNING.set(self._runs.running)
            metrics.NOTED.flush(layers.SPENT.take())
            await self._lanes.give_back()
        if not self._lanes.any_waiting:
            self._looked = now
        elif self._waits_for_slots and now - self._looked >= REST_TICK_SECONDS:
            self._looked = now
            await self._lanes.give_back_rests(self._kept)
