"""Rings orphans, lane after lane: claimable tasks whose doorbell is lost (`waggle.repair.orphans` has the rule)."""

import asyncio
from typing import Final

import structlog

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.loops import periodic
from waggle.repair import orphans
from waggle.store import waiting
from waggle.store.client import Connection
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

ORPHAN_SCAN_SECONDS: Final = 2.0
ORPHAN_BATCH: Final = 5000  # orphans of one lane in one transaction

ORPHANS_RUNG: Final = catalogue.ORPHANS_RUNG.create()

Lane = tuple[str, int]


async def ring(pool: Connection, bus: Bus, ringer: Ringer, stopping: asyncio.Event) -> None:
    """Ring the orphans of each lane; again at once while a lane has more than a batch."""

    async def step() -> bool:
        if not ringer.works:
            return False
        return any([await ring_lane(pool, bus, ringer, lane) for lane in await waiting.lanes(pool) if subjects.fits(lane[0])])

    await periodic(ORPHAN_SCAN_SECONDS, step, OUTAGE, stopping)


async def ring_lane(pool: Connection, bus: Bus, ringer: Ringer, lane: Lane) -> bool:
    """Whether the lane may have more."""
    rung = await orphans.ring_lane(pool, bus, ringer, lane, ORPHAN_BATCH)
    if rung.number:
        ORPHANS_RUNG.labels(lane[0]).inc(rung.number)
        log.warning("lost doorbells rung again", queue=lane[0], priority=lane[1], count=rung.number, refused=rung.refused)
    return rung.number == ORPHAN_BATCH and rung.refused is None
