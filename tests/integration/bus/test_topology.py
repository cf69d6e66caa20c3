"""The stream and the consumers of the lanes: created when missing, updated when settings change; several processes may do it at once."""

import asyncio

import msgspec

from support import stream
from support.fleet import FleetSettings
from waggle.bus import connection, subjects, topology
from waggle.bus.connection import Bus
from waggle.task import Priority

DOORS = [subjects.SUBMIT_STREAM, subjects.REJECTED_STREAM, subjects.INGEST, subjects.EVENTS_STREAM, subjects.STREAMS_STREAM]


async def test_everything_that_is_missing_is_made_once(bus: Bus, settings: FleetSettings) -> None:
    made = await topology.ensure(bus, settings, ["default", "mail"])
    lanes = [subjects.consumer(queue, priority) for queue in ("default", "mail") for priority in Priority]
    assert made == [subjects.WORK_STREAM, subjects.BREAKERS_STREAM, *lanes, subjects.RATES_STREAM, *DOORS]
    assert await topology.ensure(bus, settings, ["default", "mail"]) == []
    assert await stream.consumers(bus) == set(lanes)


async def test_a_queue_that_appears_gets_its_lanes(bus: Bus, settings: FleetSettings) -> None:
    await topology.ensure(bus, settings, ["default"])
    assert await topology.ensure(bus, settings, ["default", "mail"]) == [subjects.consumer("mail", priority) for priority in Priority]


async def test_a_changed_limit_is_changed_in_the_stream(bus: Bus, settings: FleetSettings) -> None:
    await topology.ensure(bus, settings, ["default"])
    await topology.ensure(bus, msgspec.structs.replace(settings, lane_limit=7, work_max_bytes=1 << 20), ["default"])
    found = (await bus.jetstream().stream_info(subjects.WORK_STREAM)).config
    assert (found.max_msgs_per_subject, found.max_bytes) == (7, 1 << 20)


async def test_several_that_make_it_at_once_do_not_harm_each_other(bus: Bus, settings: FleetSettings) -> None:
    queues = ["default", *(f"queue-{n}" for n in range(5))]
    async with connection.connection(settings, "other") as other:
        while not other.connected:  # noqa: ASYNC110  # the second connection is no more than a moment away
            await asyncio.sleep(0.01)
        made = await asyncio.gather(*(topology.ensure(each, settings, queues) for each in (bus, other) * 3))
    assert len({name for each in made for name in each}) == 3 + len(DOORS) + 4 * len(queues)
    assert len(await stream.consumers(bus)) == 4 * len(queues)


async def test_a_lane_keeps_its_place_when_the_topology_is_ensured_again(bus: Bus, settings: FleetSettings) -> None:
    await topology.ensure(bus, settings, ["default"])
    await bus.jetstream().publish(subjects.work("default", 1), b"x" * 24)
    await topology.ensure(bus, settings, ["default", "mail"])
    assert await stream.doorbells(bus) == 1


async def test_the_stream_refuses_what_is_new_and_drops_nothing(bus: Bus, settings: FleetSettings) -> None:
    await topology.ensure(bus, settings, ["default"])
    found = (await bus.jetstream().stream_info(subjects.WORK_STREAM)).config
    assert (found.discard, found.discard_new_per_subject, found.retention, found.storage) == ("new", True, "workqueue", "file")
    consumer = (await bus.jetstream().consumer_info(subjects.WORK_STREAM, subjects.consumer("default", 1))).config
    assert (consumer.ack_wait, consumer.max_deliver, consumer.filter_subject) == (10.0, -1, "waggle.work.default.medium")
