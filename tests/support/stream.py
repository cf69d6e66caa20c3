"""The contents of the work stream, read directly."""

import contextlib

from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from waggle.bus import doorbells as stream_doorbells
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Doorbell, Ringer
from waggle.task import Priority


async def doorbells(bus: Bus) -> int:
    """The number of doorbells in the stream, without acked ones."""
    return (await bus.jetstream().stream_info(subjects.WORK_STREAM)).state.messages


async def tasks_rung(bus: Bus) -> int:
    """The number of tasks that the doorbells in the stream carry, a task twice if two do."""
    found = await stream_doorbells.stream(bus)
    return sum([len(bell.tasks) for subject in found.held async for batch in stream_doorbells.walk(bus, subject, found.last) for bell in batch])


async def consumers(bus: Bus) -> set[str]:
    """The names of the consumers of the lanes; none without a stream."""
    with contextlib.suppress(NotFoundError):
        return {found.name for found in await bus.jetstream().consumers_info(subjects.WORK_STREAM)}
    return set()


async def lose_doorbells(bus: Bus) -> None:
    """Delete all doorbells in the stream."""
    await bus.jetstream().purge_stream(subjects.WORK_STREAM)


async def ring(bus: Bus, *bells: Doorbell) -> None:
    """Ring, and wait until the stream has stored them."""
    ringer = Ringer(bus, subjects.IDS_LIMIT)
    for bell in bells:
        assert await ringer.ring_confirmed([bell]) is None


async def holds(bus: Bus, count: int) -> bool:
    """Whether the stream holds `count` doorbells."""
    return await doorbells(bus) == count


async def lanes(bus: Bus, queue: str) -> list[ConsumerInfo]:
    """The consumer info of each lane of a queue."""
    return [await bus.jetstream().consumer_info(subjects.WORK_STREAM, subjects.consumer(queue, priority)) for priority in Priority]


async def asked(bus: Bus, queue: str, workers: int = 1) -> bool:
    """Whether each lane of a queue has open requests for doorbells from at least `workers` workers."""
    return all((info.num_waiting or 0) >= workers for info in await lanes(bus, queue))


async def unasked(bus: Bus, queue: str) -> bool:
    """Whether no lane of a queue has an open request for doorbells."""
    return not any(info.num_waiting for info in await lanes(bus, queue))


async def delivered(bus: Bus, queue: str) -> int:
    """The number of doorbells of a queue delivered so far, including redeliveries."""
    return sum(info.delivered.consumer_seq for info in await lanes(bus, queue) if info.delivered)
