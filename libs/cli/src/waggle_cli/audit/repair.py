"""`waggle audit --repair`: does once what the loops would do, by their own functions. Safe beside them, and beside another repair."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from waggle.bus import doorbells
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store import audit, leases, waiting
from waggle_cli.audit.looks import STRAY_GRACE, Pool, Seen
from waggle_scheduler import deadlines, orphans, take_back
from waggle_scheduler.take_back import Connected

RING_AT_ONCE: Final = 1_000
LOOK: Final = 0.5  # seconds between two looks at Postgres while a lease is waited out
LEASES: Final = 3  # leases that are waited at most for one without an interruption


async def repair(pool: Pool, bus: Bus, seen: Seen, lease: float) -> dict[str, int]:
    """What was done for each condition, by its name. Raises an OUTAGE of either server."""
    ringer = Ringer(bus)
    await ringer.open()
    return {
        "lost": await _take_back(pool, bus, lease) if seen.found["lost"].count else 0,
        "overdue": await _all(lambda: deadlines.fail_some(pool, bus), deadlines.MOST),
        "unrung": await _all(lambda: _ring_due(pool, ringer), RING_AT_ONCE),
        "orphan": sum([await _ring_lane(pool, bus, ringer, lane) for lane in await waiting.lanes(pool)]),
        "stray": await _remove_strays(pool, bus, seen),
    }


async def _take_back(pool: Pool, bus: Bus, lease: float) -> int:
    """As the scheduler does it: only after this process was itself connected for a lease, so that it would have seen the heartbeats."""
    connected = Connected()
    for _ in range(int(LEASES * lease / LOOK) + 1):
        if connected.seen(await leases.server_started(pool), gap=max(lease / 2, 3 * LOOK)) >= lease:
            return await _all(lambda: _take_some_back(pool, bus), take_back.MOST)
        await asyncio.sleep(LOOK)
    return 0


async def _take_some_back(pool: Pool, bus: Bus) -> int:
    taken = await take_back.take_back(pool)
    await take_back.tell(bus, taken)
    return len(taken)


async def _ring_due(pool: Pool, ringer: Ringer) -> int:
    bells = await waiting.mark_due(pool, RING_AT_ONCE)
    await ringer.ring(bells)
    return len(bells)


async def _ring_lane(pool: Pool, bus: Bus, ringer: Ringer, lane: tuple[str, int]) -> int:
    return await _all(lambda: orphans.ring_some(pool, bus, ringer, lane), orphans.MOST)


async def _remove_strays(pool: Pool, bus: Bus, seen: Seen) -> int:
    """Those whose tasks still cannot be claimed: a worker would ack them, too."""
    still = await audit.strays(pool, [bell.task for bell in seen.strays if bell.task], STRAY_GRACE)
    return sum([await doorbells.remove(bus, bell.number) for bell in seen.strays if bell.task is None or bell.task in still])


async def _all(step: Callable[[], Awaitable[int]], most: int) -> int:
    """Repeat a step until it has no more to do."""
    done = 0
    while (count := await step()) == most:
        done += count
    return done + count
