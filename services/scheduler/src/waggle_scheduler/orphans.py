"""Rings orphans, lane after lane: claimable tasks whose doorbell is lost (`waggle.repair.orphans` has the rule)."""

import asyncio
from datetime import datetime
from typing import Final

import structlog

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.loops import Looks, periodic
from waggle.repair import orphans
from waggle.store.client import Connection
from waggle.telemetry import catalogue
from waggle_scheduler import OUTAGE
from waggle_scheduler.waiting_lanes import WaitingLanes

log = structlog.get_logger()

ORPHAN_SCAN_SECONDS: Final = 2.0
ORPHAN_BATCH: Final = 5000  # orphans of one lane in one transaction

ORPHANS_RUNG: Final = catalogue.ORPHANS_RUNG.create()

LaneName = tuple[str, int]


class Lane:
    """What is known of a lane: no orphan is left in it that was rung before `until`."""

    def __init__(self) -> None:
        self.looks = Looks()
        self.until: datetime | None = None


async def ring(pool: Connection, bus: Bus, ringer: Ringer, waiting_lanes: WaitingLanes, stopping: asyncio.Event) -> None:
    """Ring the orphans of each lane; again at once while a lane has more than a batch."""
    known: dict[LaneName, Lane] = {}

    async def step() -> bool:
        nonlocal known
        if not ringer.works:
            return False
        lanes = [lane for lane in await waiting_lanes.names(pool) if subjects.fits(lane[0])]
        for queue, _ in lanes:
            ORPHANS_RUNG.labels(queue)
        known = {lane: known.get(lane) or Lane() for lane in lanes}
        return any([await ring_lane(pool, bus, ringer, name, lane) for name, lane in known.items()])

    await periodic(ORPHAN_SCAN_SECONDS, step, OUTAGE, stopping)


async def ring_lane(pool: Connection, bus: Bus, ringer: Ringer, lane: LaneName, known: Lane) -> bool:
    """Whether the lane may have more."""
    with known.looks.look() as back:
        rung = await orphans.ring_lane(pool, bus, ringer, lane, ORPHAN_BATCH, None if back is None else known.until)
    if rung.until is not None:
        known.until = rung.until
    if rung.number:
        ORPHANS_RUNG.labels(lane[0]).inc(rung.number)
        log.warning("lost doorbells rung again", queue=lane[0], priority=lane[1], count=rung.number, refused=rung.refused)
    return rung.number == ORPHAN_BATCH and rung.refused is None
