"""Rings orphans: claimable tasks whose doorbell is lost. The orphan rule, invariant 7 of the design.

Lanes are first in, first out, and a doorbell stays in the stream until it is acked. So a task that was rung before the oldest doorbell of its
lane, and before the question for it, has lost its own.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from waggle.bus import lane_head, subjects
from waggle.bus.connection import OUTAGE as BUS_OUTAGE
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.loops import periodic
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

EVERY: Final = 2.0
MOST: Final = 5000  # orphans of a lane rung in one transaction
SLACK: Final = timedelta(seconds=5)  # for doorbells that are on their way

ORPHANS_RUNG: Final = catalogue.ORPHANS_RUNG.create()

Lane = tuple[str, int]


async def ring(pool: Connection, bus: Bus, ringer: Ringer, stopping: asyncio.Event) -> None:
    """Lane after lane; at once again while one had more than fits a batch."""

    async def step() -> bool:
        if not bus.connected:
            return False
        return any([await ring_lane(pool, bus, ringer, lane) for lane in await waiting.lanes(pool) if subjects.fits(lane[0])])

    await periodic(EVERY, step, OUTAGE, stopping)


async def ring_lane(pool: Connection, bus: Bus, ringer: Ringer, lane: Lane) -> bool:
    """Whether the lane may have more."""
    return await ring_some(pool, bus, ringer, lane) == MOST


async def ring_some(pool: Connection, bus: Bus, ringer: Ringer, lane: Lane) -> int:
    """How many were rung, at most MOST, as far as the stream took them. A stream that does not answer clearly says nothing about the lane: then none."""
    asked = await waiting.now(pool)
    try:
        before = limit(await lane_head.oldest_rung_at(bus, *lane), asked)
    except BUS_OUTAGE as error:
        log.debug("the stream does not say what a lane holds", queue=lane[0], priority=lane[1], error=str(error) or type(error).__name__)
        return 0
    if not await waiting.has_orphans(pool, lane, before):
        return 0
    bells = await waiting.mark_orphans(pool, lane, before, await _room(bus, lane))
    if not bells:
        return 0
    refused = await ringer.ring_confirmed(bells)
    ORPHANS_RUNG.labels(lane[0]).inc(len(bells))
    log.warning("rang tasks whose doorbell was lost", queue=lane[0], priority=lane[1], count=len(bells), refused=refused)
    return len(bells) if refused is None else 0


async def _room(bus: Bus, lane: Lane) -> int:
    """How many doorbells may be rung now; none while the stream does not say."""
    try:
        return min(await lane_head.room(bus, *lane), MOST)
    except BUS_OUTAGE:
        return 0


def limit(head: datetime | None, asked: datetime) -> datetime:
    """What was rung before this, and waits still, has lost its doorbell; `head` is when the lane's oldest doorbell was rung, None for an empty lane."""
    return (asked if head is None else min(head, asked)) - SLACK
