"""Rings doorbells with plain publishes; the orphan rule repairs a lost one. Checks a few times per second that the stream still accepts them.

Tasks of a lane that come together share doorbells, as many of them as the batch is large. A batch of up to ALONE tasks does not, and a larger one has SPREAD
doorbells at least, so that idle workers share it evenly.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.storing import Storing, refusal
from waggle.telemetry import catalogue

log = structlog.get_logger()

CHECK_SECONDS: Final = 0.25
LOG_SECONDS: Final = 30.0
ALONE: Final = 64  # tasks of a batch, up to which each has a doorbell of its own
SPREAD: Final = 16  # doorbells of a batch, at least, before one carries more tasks

RUNG: Final = catalogue.DOORBELLS_RUNG.create()
REFUSED: Final = catalogue.DOORBELLS_REFUSED.create()

Doorbell = tuple[UUID, str, int, datetime]  # of one task: its id, queue, priority, rung_at


class Ringer:
    """Rings the doorbells of a service. `open()` once before the first ring; keep `storing.watch()` running in a service."""

    def __init__(self, bus: Bus, ids_at_most: int = 1) -> None:
        self._bus = bus
        self._inbox = bus.inbox()
        self.storing = Storing(bus)
        self.ids_at_most = ids_at_most  # of a doorbell: what every live worker can read, see waggle/doorbell_sizes.py
        self._asked: dict[str, float] = {}
        self._said = -LOG_SECONDS

    @property
    def works(self) -> bool:
        """Whether doorbells are stored, as far as is known. If not, leave `rung_at` alone: the scheduler rings the task when this works again."""
        return self._bus.connected and self.storing.ok

    async def open(self) -> None:
        await self._bus.subscribe(f"{self._inbox}.*", self._answered)

    async def ring(self, bells: Iterable[Doorbell]) -> None:
        """Publish; the last doorbell of a batch may request the ack of the stream, which is checked off the hot path."""
        lanes: dict[tuple[str, int], list[tuple[UUID, datetime]]] = {}
        for task_id, queue, priority, rung_at in bells:
            lanes.setdefault((queue, priority), []).append((task_id, rung_at))
        for (queue, priority), tasks in lanes.items():
            if not subjects.fits(queue):
                continue
            subject, doorbells = subjects.work(queue, priority), together(tasks, self.ids_at_most)
            if len(doorbells) > 1:
                await self._bus.publish_all([(subject, doorbell) for doorbell in doorbells[:-1]])
            await self._bus.publish(subject, doorbells[-1], self._reply(subjects.consumer(queue, priority)))
            RUNG.labels(queue).inc(len(doorbells))

    async def ring_confirmed(self, bells: Sequence[Doorbell]) -> str | None:
        """Publish the doorbells of tasks of one lane and wait until the stream has stored the last one; returns why it did not, or None.

        Raises one of NATS_OUTAGE without a reply: the outcome is unknown.
        """
        _, queue, priority, _ = bells[0]
        subject, doorbells = subjects.work(queue, priority), together([(task_id, rung_at) for task_id, _, _, rung_at in bells], self.ids_at_most)
        if len(doorbells) > 1:
            await self._bus.publish_all([(subject, doorbell) for doorbell in doorbells[:-1]])
        reason = refusal(await self._bus.request(subject, doorbells[-1]))
        RUNG.labels(queue).inc(len(doorbells))
        if reason is not None:
            REFUSED.labels(reason).inc()
        return reason

    def _reply(self, lane: str) -> str:
        now = time.monotonic()
        if now - self._asked.get(lane, -CHECK_SECONDS) < CHECK_SECONDS:
            return ""
        self._asked[lane] = now
        self.storing.asked(lane)
        return f"{self._inbox}.{lane}"

    async def _answered(self, message: Msg) -> None:
        lane = message.subject.rpartition(".")[2]
        reason = refusal(message)
        self.storing.answered(lane, reason)
        if reason is None:
            return
        REFUSED.labels(reason).inc()
        now = time.monotonic()
        if now - self._said >= LOG_SECONDS:
            self._said = now
            log.warning("stream refuses doorbells", reason=reason, lane=lane)


def together(tasks: Sequence[tuple[UUID, datetime]], most: int) -> list[bytes]:
    """The doorbells of these tasks of a lane, in their order, with up to `most` each. Each has the earliest time of its tasks, as the orphan rule asks."""
    size = min(most, max(1, (len(tasks) - ALONE) // SPREAD))
    if size == 1:
        return [subjects.doorbell((task_id,), rung_at) for task_id, rung_at in tasks]
    parts = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    return [subjects.doorbell([task_id for task_id, _ in part], min([rung_at for _, rung_at in part])) for part in parts]
