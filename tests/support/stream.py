"""What the work stream holds, asked directly."""

import contextlib

from nats.js.errors import NotFoundError

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Bell, Ringer


async def doorbells(bus: Bus) -> int:
    """How many doorbells are in the stream, acked ones not counted."""
    return (await bus.jetstream().stream_info(subjects.WORK_STREAM)).state.messages


async def consumers(bus: Bus) -> set[str]:
    """The names of the lanes' consumers; none without a stream."""
    with contextlib.suppress(NotFoundError):
        return {found.name for found in await bus.jetstream().consumers_info(subjects.WORK_STREAM)}
    return set()


async def lose_doorbells(bus: Bus) -> None:
    """All that are in the stream now."""
    await bus.jetstream().purge_stream(subjects.WORK_STREAM)


async def ring(bus: Bus, *bells: Bell) -> None:
    """Ring, and be sure that the stream has them."""
    ringer = Ringer(bus)
    for bell in bells:
        assert await ringer.ring_confirmed([bell]) is None
