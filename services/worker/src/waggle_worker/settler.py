"""Settling outcomes in batches: while statements are in flight the next batch gathers. There is no timer.

A statement without an answer is repeated. An outcome that Postgres refuses fails alone. An outcome whose attempt no longer holds its task is dropped
and counted.
"""

import asyncio
import time
from collections import deque
from collections.abc import Container, Sequence
from uuid import UUID

import msgspec
import structlog

from waggle.bus import due, events, subjects
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.errors import ErrorCode
from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE, REFUSED
from waggle.task import AT_REST, AttemptOutcome, Claimed, Fence, Outcome, Snoozed, Status, Step, Tries, decide, shortest_snooze
from waggle.telemetry.catalogue import OTHER
from waggle.telemetry.traces import TraceContext
from waggle_worker import metrics, outcomes, tracing

log = structlog.get_logger()

SETTLE_BATCH = 1000
SETTLE_BATCH_BYTES = 8 << 20
UNSETTLED_LIMIT = 5_000
UNSETTLED_LIMIT_BYTES = 128 << 20
SETTLES_IN_FLIGHT = 2
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.05, 1.0
NO_TRIES = Tries(retry_count=0, max_retries=0)

Traced = tuple[str, TraceContext]  # the queue of an attempt, and its place in its trace
Item = tuple[Fence, Step, str, Traced | None, str]  # the third is the task's type, the last its queue, where that is known


class Settler:
    """Outcomes on their way to Postgres. `idle` is set while there are none; `hooks_due` is set when tasks ended without success."""

    def __init__(self, connection: Connection, bus: Bus, types: Container[str], hooks_due: asyncio.Event) -> None:
        self._connection, self._bus, self._types, self._hooks_due = connection, bus, types, hooks_due
        self._waiting: list[Item] = []
        self._bytes = 0
        self._held: dict[tuple[UUID, int], Fence] = {}
        self._late: deque[Fence] = deque(maxlen=UNSETTLED_LIMIT)
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(SETTLES_IN_FLIGHT)
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def full(self) -> bool:
        """Whether too many outcomes wait to start more tasks."""
        return len(self._waiting) > UNSETTLED_LIMIT or self._bytes > UNSETTLED_LIMIT_BYTES

    def settle(
        self,
        claimed: Claimed,
        worker_id: str,
        outcome: Outcome,
        *,
        dead_letter: bool = True,
        logs: str | None = None,
        emitted: str | None = None,
        traced: Traced | None = None,
    ) -> None:
        """Settle an attempt. `dead_letter` is False for a type that opted out of the dead letter queue; `logs` is what its handler logged, `emitted`
        the last values that it emitted, as JSON.
        """
        if isinstance(outcome, Snoozed) and outcome.ended is AttemptOutcome.SNOOZED:
            outcome = msgspec.structs.replace(outcome, delay=max(outcome.delay, shortest_snooze(claimed.attempt, claimed.retry_count)))
        step = decide(outcome, Tries(claimed.retry_count, claimed.max_retries, dead_letter))
        self.add(
            Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at),
            step if logs is None and emitted is None else msgspec.structs.replace(step, logs=logs, emitted=emitted),
            claimed.type,
            claimed.queue,
            traced,
        )

    def give_back(self, claimed: Claimed, worker_id: str, delay: float = 0.0) -> None:
        """Give back a claimed task that was not started here. It runs again after `delay` seconds and costs no try."""
        self.settle(claimed, worker_id, Snoozed(delay, AttemptOutcome.GIVEN_BACK))

    def expect(self, claimed: Claimed, worker_id: str) -> None:
        """The outcome of an attempt is known soon: until then it counts as on its way."""
        self._held[claimed.id, claimed.attempt] = Fence(claimed.id, claimed.attempt, worker_id, claimed.started_at)
        self.idle.clear()

    def add(self, fence: Fence, step: Step, task_type: str, queue: str, traced: Traced | None = None) -> None:
        self._waiting.append((fence, step, task_type, traced, queue))
        self._bytes += _size(step)
        self._held[fence.id, fence.attempt] = fence
        self._wake.set()
        self.idle.clear()

    @property
    def fences(self) -> list[Fence]:
        """Attempts whose outcome is on its way, or came too late not long ago."""
        return [*self._held.values(), *self._late]

    def holds(self, fence: Fence) -> bool:
        """Whether the outcome of this attempt is on its way."""
        return (fence.id, fence.attempt) in self._held

    async def loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                await self._free.acquire()
                batch = self._next_batch()
                if not self._waiting:
                    self._wake.clear()
                if batch:
                    group.create_task(self._settle(batch))
                else:
                    self._free.release()

    def _next_batch(self) -> list[Item]:
        size, count = 0, 0
        for _, step, *_ in self._waiting[:SETTLE_BATCH]:
            size += _size(step)
            if count and size > SETTLE_BATCH_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._bytes -= sum([_size(step) for _, step, *_ in batch])
        return batch

    async def _settle(self, batch: list[Item]) -> None:
        try:
            await self._until_answered(batch)
        finally:
            for fence, *_ in batch:
                self._held.pop((fence.id, fence.attempt), None)
            self._free.release()
            if not self._held:
                self.idle.set()

    async def _until_answered(self, batch: Sequence[Item]) -> None:
        pause, repeated = FIRST_RETRY_SECONDS, False
        while True:
            began = time.time_ns()
            try:
                held = await tasks.settle(self._connection, [(fence, step) for fence, step, *_ in batch])
            except REFUSED as error:
                await self._one_by_one(batch, error)
                return
            except POSTGRES_OUTAGE as error:
                if not repeated:
                    log.warning("settle without an answer", count=len(batch), error=str(error) or type(error).__name__)
                repeated = True
                await asyncio.sleep(pause)
                pause = min(LONGEST_RETRY_SECONDS, pause * 2)
            else:
                for _, _, task_type, traced, _ in batch:
                    if traced is not None:
                        tracing.settled(task_type, *traced, began)
                await self._settled(batch, held, repeated=repeated)
                return

    async def _one_by_one(self, batch: Sequence[Item], error: Exception) -> None:
        """Postgres refused one of them: settle each alone, and turn the refused one into a failure that can be stored."""
        if len(batch) > 1:
            for item in batch:
                await self._until_answered([item])
            return
        fence, step, task_type, traced, queue = batch[0]
        log.error("outcome refused by Postgres", task_id=str(fence.id), task_type=task_type, attempt=fence.attempt, error=str(error))
        if step.error is None or step.error.code is not ErrorCode.INTERNAL_ERROR:  # else even that was refused, and the row goes back with the next heartbeat
            await self._until_answered([(fence, decide(outcomes.refused(error), NO_TRIES), task_type, traced, queue)])

    async def _settled(self, batch: Sequence[Item], held: set[tuple[UUID, int]], *, repeated: bool) -> None:
        ended: list[tuple[UUID, Status]] = []
        dropped: list[Item] = []
        tally: dict[tuple[str, AttemptOutcome], int] = {}
        soonest: float | None = None
        for item in batch:
            fence, step, task_type, traced, _ = item
            if (fence.id, fence.attempt) not in held:
                dropped.append(item)
                continue
            tally[task_type, step.ended] = tally.get((task_type, step.ended), 0) + 1
            if step.status in AT_REST:
                ended.append((fence.id, step.status))
            else:
                soonest = step.delay if soonest is None else min(soonest, step.delay)
            if step.error is not None and step.ended is not AttemptOutcome.SNOOZED:
                _log_settled(fence, step, task_type, traced)
        for (task_type, outcome), count in tally.items():
            metrics.attempts(task_type if task_type in self._types else OTHER, outcome).inc(count)
        ended_here = [(outcome, count) for (_, outcome), count in tally.items() if outcome in metrics.TRIES]
        metrics.LAST_MINUTE.count(sum([count for _, count in ended_here]), sum([count for outcome, count in ended_here if outcome is AttemptOutcome.FAILED]))
        if repeated:  # an earlier statement may have settled them: waiting clients should check
            ended += [(fence.id, step.status) for fence, step, *_ in dropped if step.status in AT_REST]
        if soonest is not None:
            await due.announce(self._bus, soonest)
        if ended:
            await self._bus.publish(subjects.SETTLED, subjects.settled(ended))
            if any(status is not Status.COMPLETED for _, status in ended):
                self._hooks_due.set()
        if self._bus.events != "off":
            await self._tell([item for item in batch if item[4] and (item[0].id, item[0].attempt) in held])
        if dropped:
            self._late.extend(fence for fence, *_ in dropped)
            await self._explain(dropped)

    async def _tell(self, settled: Sequence[Item]) -> None:
        at = events.now()
        codes = [None if step.error is None else step.error.code for _, step, *_ in settled]
        told = [
            TaskEvent(fence.id, task_type, queue, step.status, fence.attempt, at, code)
            for (fence, step, task_type, _, queue), code in zip(settled, codes, strict=True)
        ]
        await events.tell(self._bus, told)

    async def _explain(self, dropped: list[Item]) -> None:
        """Count why outcomes came too late; `unknown` during an outage."""
        try:
            found = await tasks.get_many(self._connection, [fence.id for fence, *_ in dropped])
        except POSTGRES_OUTAGE:
            found = {}
        for fence, step, task_type, *_ in dropped:
            task = found.get(fence.id)
            match task.status if task else None:
                case None:
                    reason = "unknown"
                case Status.CANCELLED:
                    reason = "cancelled"
                case Status.FAILED if task and task.deadline:
                    reason = "deadline"
                case Status.PENDING | Status.RUNNING:
                    reason = "lease_lost"
                case _:
                    reason = "settled_before"
            metrics.DROPPED.labels(reason).inc()
            log.info(
                "outcome dropped",
                task_id=str(fence.id),
                task_type=task_type,
                attempt=fence.attempt,
                worker_id=fence.worker_id,
                outcome=step.ended,
                reason=reason,
            )


def _size(step: Step) -> int:
    return len(step.result or "") + len(step.logs or "") + len(step.emitted or "")


def _log_settled(fence: Fence, step: Step, task_type: str, traced: Traced | None) -> None:
    fields = {
        "task_id": str(fence.id),
        "task_type": task_type,
        "attempt": fence.attempt,
        "worker_id": fence.worker_id,
        "code": step.error.code if step.error else None,
        **({} if traced is None else {"trace_id": traced[1].trace_id}),
    }
    message = step.error.message if step.error else ""
    if step.status is Status.PENDING:
        log.warning("try failed, will be retried", **fields, error=message, retry_in=round(step.delay, 3))
    else:
        log.error("task failed", **fields, status=step.status, error=message)
