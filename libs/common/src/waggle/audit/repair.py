"""`waggle audit --repair`: does once what the scheduler's loops would. Safe beside them, and beside another repair."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from uuid import UUID

from waggle.audit.conditions import STRAY_GRACE, Observation, Pool
from waggle.bus import doorbells, subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.repair import deadlines, orphans, reclaim
from waggle.store import audit, primary, waiting

RECLAIM_BATCH: Final = 100
BATCH: Final = 1_000
REPAIR_POLL_SECONDS: Final = 0.5  # between two questions to Postgres while a lease passes
LEASES: Final = 3  # leases to wait, at most, for one without an interruption


class Repaired(NamedTuple):
    """How many were repaired, by condition; and what was changed in each row that was corrected."""

    counts: dict[str, int]
    corrected: dict[UUID, str]


async def repair(pool: Pool, bus: Bus, seen: Observation, lease: float) -> Repaired:
    """Raises one of SERVER_ERRORS."""
    ringer = Ringer(bus)
    await ringer.open()
    corrected = await _correct(pool, seen.odd)
    counts = {
        "row": len(corrected),
        "lost": await _reclaim(pool, bus, lease) if seen.found["lost"].count else 0,
        "overdue": await _all(lambda: _fail_overdue(pool, bus), BATCH),
        "unrung": await _all(lambda: _ring_due(pool, ringer), BATCH),
        "orphan": sum([await _ring_lane(pool, bus, ringer, lane) for lane in await waiting.lanes(pool) if subjects.fits(lane[0])]),
        "stray": await _remove_strays(pool, bus, seen),
    }
    return Repaired(counts, corrected)


async def _correct(pool: Pool, odd: list[UUID]) -> dict[UUID, str]:
    corrected: dict[UUID, str] = {}
    for first in range(0, len(odd), BATCH):
        corrected |= await audit.correct(pool, odd[first : first + BATCH])
    return corrected


async def _reclaim(pool: Pool, bus: Bus, lease: float) -> int:
    """Only after this process was itself connected for a lease: then it would have seen the heartbeats."""
    connected = reclaim.Connected()
    for _ in range(int(LEASES * lease / REPAIR_POLL_SECONDS) + 1):
        seen = await primary.observe(pool)
        if connected.seen((seen.server, seen.since), gap=max(lease / 2, 3 * REPAIR_POLL_SECONDS)) >= lease:
            return await _all(lambda: _reclaim_some(pool, bus), RECLAIM_BATCH)
        await asyncio.sleep(REPAIR_POLL_SECONDS)
    return 0


async def _reclaim_some(pool: Pool, bus: Bus) -> int:
    reclaimed = await reclaim.reclaim(pool, RECLAIM_BATCH)
    await reclaim.announce(bus, reclaimed)
    return len(reclaimed)


async def _fail_overdue(pool: Pool, bus: Bus) -> int:
    failed = await waiting.fail_overdue(pool, BATCH)
    await deadlines.announce(bus, failed)
    return len(failed)


async def _ring_due(pool: Pool, ringer: Ringer) -> int:
    bells = await waiting.mark_due(pool, BATCH)
    await ringer.ring(bells)
    return len(bells)


async def _ring_lane(pool: Pool, bus: Bus, ringer: Ringer, lane: orphans.Lane) -> int:
    async def step() -> int:
        rung = await orphans.ring_lane(pool, bus, ringer, lane, BATCH)
        return 0 if rung.refused else rung.number

    return await _all(step, BATCH)


async def _remove_strays(pool: Pool, bus: Bus, seen: Observation) -> int:
    """Only doorbells of which still no task can be claimed; a worker would ack those, too."""
    still = await audit.stale_doorbells(pool, [task for bell in seen.strays for task in bell.tasks], STRAY_GRACE)
    return sum([await doorbells.delete(bus, bell.number) for bell in seen.strays if all(task in still for task in bell.tasks)])


async def _all(step: Callable[[], Awaitable[int]], batch: int) -> int:
    """Repeat a step until it handles less than a full batch; returns the sum."""
    done = 0
    while (count := await step()) == batch:
        done += count
    return done + count
