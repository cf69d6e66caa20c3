"""What the work stream holds, asked directly."""

import contextlib

from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Bell, Ringer
from waggle.task import Priority


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


async def holds(bus: Bus, count: int) -> bool:
    """Whether so many doorbells are in the stream."""
    return await doorbells(bus) == count


async def lanes(bus: Bus, queue: str) -> list[ConsumerInfo]:
    """What the server knows of each lane of a queue."""
    return [await bus.jetstream().consumer_info(subjects.WORK_STREAM, subjects.consumer(queue, priority)) for priority in Priority]


async def asked(bus: Bus, queue: str, workers: int = 1) -> bool:
    """Whether at least so many requests for doorbells are open in each lane of a queue."""
    return all((info.num_waiting or 0) >= workers for info in await lanes(bus, queue))


async def unasked(bus: Bus, queue: str) -> bool:
    """Whether no request for a doorbell of a queue is open."""
    return not any(info.num_waiting for info in await lanes(bus, queue))


async def delivered(bus: Bus, queue: str) -> int:
    """How many doorbells of a queue were handed out so far, again ones included."""
    return sum(info.delivered.consumer_seq for info in await lanes(bus, queue) if info.delivered)
