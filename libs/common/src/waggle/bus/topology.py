"""The stream, the consumers of its lanes and the bucket of the breakers: created when missing, updated when settings change. The scheduler and
`waggle migrate` call it."""

from collections.abc import Awaitable, Iterable
from typing import Final

import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from waggle.bus import subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.jetstream import api_request
from waggle.bus.users import MAX_PAYLOAD
from waggle.settings.services import TopologySettings
from waggle.task import Priority

log = structlog.get_logger()

ACK_WAIT: Final = 10.0
MAX_BREAKERS: Final = 2_000
MAX_BREAKER_BYTES: Final = 8_192
RATES_BYTES: Final = 64 << 20
RATES_AGE: Final = 180.0  # three minutes: a count is of use for two
BREAKER_AGE: Final = 7 * 86_400.0
CHANGEABLE: Final = ("max_msgs_per_subject", "max_bytes", "num_replicas", "allow_direct")  # of a work stream in use
REASON_BYTES: Final = 256 << 10  # that a message must leave free: what is rejected gets a header more
DEDUPLICATE_SECONDS: Final = 0.1  # the least that the server takes
REJECTED_AGE: Final = 7 * 86_400.0
EVENTS_AGE: Final = 86_400.0
STREAM_VALUES: Final = 1_000  # of a task
STREAMS_BYTES: Final = 64 << 20
STREAMS_AGE: Final = 600.0
REPEAT_SECONDS: Final = 600.0
INGEST_ACK_WAIT: Final = 30.0
MAX_ACK_PENDING: Final = 1_000_000  # no limit in practice: held doorbells must not stall a lane


def work_stream(settings: TopologySettings) -> StreamConfig:
    """A limit per lane, so that a paused or slow lane cannot fill the stream for others; a full lane refuses new doorbells and keeps old ones."""
    return StreamConfig(
        name=subjects.WORK_STREAM,
        subjects=[subjects.WORK_ALL],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=settings.lane_limit,
        max_bytes=settings.work_max_bytes,
        allow_direct=True,  # `waggle audit` reads all of it
        num_replicas=settings.nats_replicas,
        duplicate_window=0,
    )


def breakers_stream(settings: TopologySettings) -> StreamConfig:
    """The KV bucket of the circuit breakers, as KV clients create one. Entries expire a week after their last write; a full bucket refuses new names."""
    return StreamConfig(
        name=subjects.BREAKERS_STREAM,
        subjects=[subjects.BREAKERS_ALL],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=1,
        max_msgs=MAX_BREAKERS,
        max_msg_size=MAX_BREAKER_BYTES,
        max_age=BREAKER_AGE,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_direct=True,
        num_replicas=settings.nats_replicas,
        duplicate_window=0,
    )


def submit_stream(settings: TopologySettings, max_payload: int = MAX_PAYLOAD) -> StreamConfig:
    """What publishers handed over and no API has ingested. It must not deduplicate on its own: it would drop a second body under one id, and the equal
    ids of two publishers. So its window is the smallest that the server takes, and Postgres decides.
    """
    return StreamConfig(
        name=subjects.SUBMIT_STREAM,
        subjects=[subjects.SUBMIT_ALL],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=settings.submit_max_bytes,
        max_msg_size=max(max_payload - REASON_BYTES, REASON_BYTES),
        num_replicas=settings.nats_replicas,
        duplicate_window=DEDUPLICATE_SECONDS,
    )


def rejected_stream(settings: TopologySettings) -> StreamConfig:
    """What could not be accepted. A rejection that is published twice, because its ack was lost, is stored once."""
    return StreamConfig(
        name=subjects.REJECTED_STREAM,
        subjects=[subjects.REJECTED_ALL],
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=settings.rejected_max_bytes,
        max_age=REJECTED_AGE,
        allow_direct=True,
        num_replicas=settings.nats_replicas,
        duplicate_window=REPEAT_SECONDS,
    )


def events_stream(settings: TopologySettings) -> StreamConfig:
    """What happened to tasks in the last day."""
    return StreamConfig(
        name=subjects.EVENTS_STREAM,
        subjects=[subjects.EVENTS_ALL],
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=settings.events_max_bytes,
        max_age=EVENTS_AGE,
        allow_direct=True,
        num_replicas=settings.nats_replicas,
        duplicate_window=DEDUPLICATE_SECONDS,
    )


def streams_stream() -> StreamConfig:
    """What handlers emit, for who follows a task late. It is in memory, on one node: it is gone after ten minutes anyway."""
    return StreamConfig(
        name=subjects.STREAMS_STREAM,
        subjects=[subjects.STREAMS_ALL],
        storage=StorageType.MEMORY,
        discard=DiscardPolicy.OLD,
        max_msgs_per_subject=STREAM_VALUES,
        max_bytes=STREAMS_BYTES,
        max_age=STREAMS_AGE,
        allow_direct=True,
        num_replicas=1,
        duplicate_window=DEDUPLICATE_SECONDS,
    )


def ingest_consumer() -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=subjects.INGEST,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=INGEST_ACK_WAIT,
        max_ack_pending=MAX_ACK_PENDING,
        max_deliver=-1,
    )


def rates_stream() -> StreamConfig:
    """The counters of rate limits. They are in memory, on one node: what is lost with it is the count of a minute or two."""
    return StreamConfig(
        name=subjects.RATES_STREAM,
        subjects=[subjects.RATES_ALL],
        storage=StorageType.MEMORY,
        discard=DiscardPolicy.OLD,
        max_msgs_per_subject=1,
        max_bytes=RATES_BYTES,
        max_age=RATES_AGE,
        allow_msg_counter=True,
        allow_direct=True,
        num_replicas=1,
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


async def ensure(bus: Bus, settings: TopologySettings, queues: Iterable[str]) -> list[str]:
    """Create what these queues lack; returns the names of what was created. Raises one of NATS_OUTAGE."""
    js = bus.jetstream()
    created = await _ensure_stream(js, settings)
    created += await _ensure_breakers(js, settings)
    there = set(await _consumer_names(bus))
    for queue in queues:
        for priority in Priority:
            name = subjects.consumer(queue, priority)
            if name not in there:
                await js.add_consumer(subjects.WORK_STREAM, lane_consumer(queue, priority))
                created.append(name)
    created += await _if_allowed(_ensure_rates(js), "rate limits cannot be counted")
    created += await _if_allowed(_ensure_ingest(js, settings, bus.max_payload), "tasks cannot be published to NATS")
    created += await _if_allowed(_ensure_sized(js, events_stream(settings)), "events are not kept")
    created += await _if_allowed(_ensure_streams(js), "what handlers emit is not told")
    if created:
        log.info("topology created", names=created)
    return created


async def _ensure_stream(js: JetStreamContext, settings: TopologySettings) -> list[str]:
    wanted = work_stream(settings)
    try:
        found = (await js.stream_info(subjects.WORK_STREAM)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return [subjects.WORK_STREAM]
    if any(getattr(found, name) != getattr(wanted, name) for name in CHANGEABLE):
        await js.update_stream(wanted)
        log.info("topology changed", stream=subjects.WORK_STREAM, lane_limit=settings.lane_limit, max_bytes=settings.work_max_bytes)
    return []


async def _ensure_breakers(js: JetStreamContext, settings: TopologySettings) -> list[str]:
    try:
        found = (await js.stream_info(subjects.BREAKERS_STREAM)).config
    except NotFoundError:
        await js.add_stream(breakers_stream(settings))
        return [subjects.BREAKERS_STREAM]
    if found.num_replicas != settings.nats_replicas:
        await js.update_stream(breakers_stream(settings))
        log.info("topology changed", stream=subjects.BREAKERS_STREAM, replicas=settings.nats_replicas)
    return []


async def _ensure_rates(js: JetStreamContext) -> list[str]:
    """Without it each API counts by itself, and nobody signs in."""
    try:
        await js.stream_info(subjects.RATES_STREAM)
    except NotFoundError:
        await js.add_stream(rates_stream())
        return [subjects.RATES_STREAM]
    return []


async def _ensure_ingest(js: JetStreamContext, settings: TopologySettings, max_payload: int) -> list[str]:
    """The streams of publishers, and the consumer that APIs share."""
    created = list[str]()
    for wanted in (submit_stream(settings, max_payload), rejected_stream(settings)):
        created += await _ensure_sized(js, wanted)
    try:
        await js.consumer_info(subjects.SUBMIT_STREAM, subjects.INGEST)
    except NotFoundError:
        await js.add_consumer(subjects.SUBMIT_STREAM, ingest_consumer())
        created.append(subjects.INGEST)
    return created


async def _ensure_streams(js: JetStreamContext) -> list[str]:
    try:
        await js.stream_info(subjects.STREAMS_STREAM)
    except NotFoundError:
        await js.add_stream(streams_stream())
        return [subjects.STREAMS_STREAM]
    return []


async def _ensure_sized(js: JetStreamContext, wanted: StreamConfig) -> list[str]:
    """A stream whose size and replicas follow the settings."""
    assert wanted.name
    try:
        found = (await js.stream_info(wanted.name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return [wanted.name]
    if any(getattr(found, name) != getattr(wanted, name) for name in ("max_bytes", "max_msg_size", "num_replicas") if getattr(wanted, name) is not None):
        await js.update_stream(wanted)
        log.info("topology changed", stream=wanted.name, max_bytes=wanted.max_bytes, replicas=wanted.num_replicas)
    return []


async def _if_allowed(ensuring: Awaitable[list[str]], otherwise: str) -> list[str]:
    """Last, and no error: a NATS user of an older configuration may not create this."""
    try:
        return await ensuring
    except NATS_OUTAGE as error:
        log.warning(f"{otherwise}: make a new configuration with `waggle nats config`", error=str(error) or type(error).__name__)
        return []


async def _consumer_names(bus: Bus) -> list[str]:
    names: list[str] = []
    while True:
        answer = await api_request(bus, subjects.CONSUMER_NAMES, {"offset": len(names)})
        page = answer.get("consumers") or []
        names += page
        if not page or len(names) >= answer["total"]:
            return names
