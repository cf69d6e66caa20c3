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

EVERY: Final = 2.0
MOST: Final = 5000  # orphans of a lane rung in one transaction

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
    rung = await orphans.ring_lane(pool, bus, ringer, lane, MOST)
    if rung.number:
        ORPHANS_RUNG.labels(lane[0]).inc(rung.number)
        log.warning("rang tasks whose doorbell was lost", queue=lane[0], priority=lane[1], count=rung.number, refused=rung.refused)
    return rung.number == MOST and rung.refused is None
