"""The stream and its lanes' consumers: created when they are missing, changed when the settings changed. Run by the scheduler and `waggle migrate`."""

from collections.abc import Iterable
from typing import Final

import msgspec
import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.settings import Settings
from waggle.task import Priority

log = structlog.get_logger()

ACK_WAIT: Final = 10.0
MAX_ACK_PENDING: Final = 1_000_000  # does not bind: a lane must not stall because many doorbells are held


def work_stream(settings: Settings) -> StreamConfig:
    """A limit per lane, so that a paused or slow lane cannot fill the others; new doorbells are refused, old ones never dropped."""
    return StreamConfig(
        name=subjects.WORK_STREAM,
        subjects=[subjects.WORK_ALL],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=settings.lane_limit,
        max_bytes=settings.work_max_bytes,
        num_replicas=settings.nats_replicas,
        duplicate_window=0,
    )


def lane_consumer(queue: str, priority: int) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=subjects.consumer(queue, priority),
        filter_subject=subjects.work(queue, priority),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_ack_pending=MAX_ACK_PENDING,
        max_deliver=-1,
    )


async def ensure(bus: Bus, settings: Settings, queues: Iterable[str]) -> list[str]:
    """Create what is missing for these queues; returns the names of what was created. Raises one of bus.OUTAGE."""
    js = bus.jetstream()
    created = await _ensure_stream(js, settings)
    there = set(await _consumer_names(bus))
    for queue in queues:
        for priority in Priority:
            name = subjects.consumer(queue, priority)
            if name not in there:
                await js.add_consumer(subjects.WORK_STREAM, lane_consumer(queue, priority))
                created.append(name)
    if created:
        log.info("topology created", names=created)
    return created


async def _ensure_stream(js: JetStreamContext, settings: Settings) -> list[str]:
    wanted = work_stream(settings)
    try:
        found = (await js.stream_info(subjects.WORK_STREAM)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return [subjects.WORK_STREAM]
    if (found.max_msgs_per_subject, found.max_bytes, found.num_replicas) != (wanted.max_msgs_per_subject, wanted.max_bytes, wanted.num_replicas):
        await js.update_stream(wanted)
        log.info("topology changed", stream=subjects.WORK_STREAM, lane_limit=settings.lane_limit, max_bytes=settings.work_max_bytes)
    return []


async def _consumer_names(bus: Bus) -> list[str]:
    names: list[str] = []
    while True:
        answer = msgspec.json.decode((await bus.request(subjects.CONSUMER_NAMES, msgspec.json.encode({"offset": len(names)}))).data)
        page = answer.get("consumers") or []
        names += page
        if not page or len(names) >= answer["total"]:
            return names
