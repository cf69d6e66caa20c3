"""Doorbells in the stream: rung, pulled, acked, refused by a full lane; and the state of a lane."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
import structlog.testing
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from support import stream
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.servers import NatsServer
from waggle.bus import lane_head, pull, subjects, topology
from waggle.bus.connection import NATS_OUTAGE, Bus, UnexpectedReply
from waggle.bus.pull import Pull
from waggle.bus.ring import Doorbell, Ringer

AT_ONCE = 2.5  # seconds: half the time after which a pull notices missing heartbeats
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def bells(count: int, queue: str = "default", priority: int = 1) -> list[Doorbell]:
    return [(uuid7(), queue, priority, NOON + timedelta(seconds=n)) for n in range(count)]


@pytest.fixture
async def ringer(bus: Bus) -> Ringer:
    made = Ringer(bus, subjects.IDS_LIMIT)
    await made.open()
    return made


@asynccontextmanager
async def pulling(bus: Bus, queue: str = "default", priority: int = 1, want: int = 100) -> AsyncIterator[Pull]:
    """A pull that requests doorbells continuously, as in a worker."""
    made = Pull(bus, queue, priority, lambda: None)
    await made.open()

    async def keep() -> None:
        while True:
            await made.top_up(want)
            await asyncio.sleep(0.02)

    async with loop(keep()):
        yield made


@pytest.mark.usefixtures("lanes")
async def test_doorbells_arrive_in_the_order_in_which_they_were_rung(bus: Bus, ringer: Ringer) -> None:
    rung = bells(50)
    async with pulling(bus) as lane:
        await ringer.ring(rung)
        await until(lambda: lane.waiting == 50)
    assert [task for _, ids in lane.take(50) for task in ids] == [bell[0] for bell in rung]


@pytest.mark.usefixtures("lanes")
async def test_a_lane_gets_its_own_doorbells_only(bus: Bus, ringer: Ringer) -> None:
    await ringer.ring([*bells(3, priority=1), *bells(2, priority=3)])
    async with pulling(bus, priority=3) as lane:
        await until(lambda: lane.waiting == 2)
        assert await stream.doorbells(bus) == 5


@pytest.mark.usefixtures("lanes")
async def test_an_acked_doorbell_is_gone_and_one_given_back_comes_again(bus: Bus, ringer: Ringer) -> None:
    rung = bells(2)
    await ringer.ring(rung)
    async with pulling(bus) as lane:
        await until(lambda: lane.waiting == 2)
        first, second = (bell for bell, _ in lane.take(2))
        await pull.ack(bus, [first])
        await pull.give_back(bus, [second])
        await until(lambda: lane.waiting == 1)
        assert lane.buffer[0].ids == second.ids
        await pull.ack(bus, [bell for bell, _ in lane.take(1)])
        await until(lambda: _is_empty(bus))


async def _is_empty(bus: Bus) -> bool:
    return await stream.doorbells(bus) == 0


@pytest.mark.usefixtures("lanes")
async def test_what_is_no_doorbell_is_removed_and_told(bus: Bus, ringer: Ringer) -> None:
    await bus.publish(subjects.work("default", 1), b"hello")
    rung = bells(1)
    await ringer.ring(rung)
    with structlog.testing.capture_logs() as lines:
        async with pulling(bus) as lane:
            await until(lambda: [held.ids for held in lane.buffer] == [[rung[0][0]]])
            await until(lambda: _holds(bus, 1))
    assert any("malformed doorbell" in line["event"] for line in lines)


async def _holds(bus: Bus, count: int) -> bool:
    return await stream.doorbells(bus) == count


@pytest.mark.usefixtures("lanes")
async def test_a_pull_goes_on_after_nats_was_killed_and_started_again(nats: NatsServer, bus: Bus, ringer: Ringer) -> None:
    async with pulling(bus) as lane:
        await ringer.ring(bells(1))
        await until(lambda: lane.waiting == 1)
        generation = bus.generation
        nats.restart()
        await until(lambda: bus.connected and bus.generation > generation)
        rung = bells(3)
        await ringer.ring(rung)
        await until(lambda: {bell[0] for bell in rung} <= {task for held in lane.buffer for task in held.ids}, AT_ONCE)


@pytest.mark.usefixtures("lanes")
async def test_a_pull_goes_on_after_the_store_was_wiped_and_the_topology_made_again(
    nats: NatsServer, bus: Bus, ringer: Ringer, settings: FleetSettings
) -> None:
    async with pulling(bus) as lane:
        await ringer.ring(bells(1))
        await until(lambda: lane.waiting == 1)
        generation = bus.generation
        nats.wipe()
        await until(lambda: bus.connected and bus.generation > generation)
        assert "WAGGLE_WORK" in await topology.ensure(bus, settings, ["default"])
        rung = bells(3)
        await ringer.ring(rung)
        await until(lambda: {bell[0] for bell in rung} <= {task for held in lane.buffer for task in held.ids}, AT_ONCE)


@pytest.mark.usefixtures("lanes")
async def test_a_pull_goes_on_after_the_stream_was_deleted_under_it(bus: Bus, ringer: Ringer, settings: FleetSettings) -> None:
    async with pulling(bus) as lane:
        await ringer.ring(bells(1))
        await until(lambda: lane.waiting == 1)
        await bus.jetstream().delete_stream(subjects.WORK_STREAM)
        await topology.ensure(bus, settings, ["default"])
        rung = bells(3)
        await ringer.ring(rung)
        await until(lambda: {bell[0] for bell in rung} <= {task for held in lane.buffer for task in held.ids}, AT_ONCE)


async def test_a_pull_begins_to_hear_when_its_lane_is_made_at_last(bus: Bus, ringer: Ringer, settings: FleetSettings) -> None:
    async with pulling(bus, queue="late") as lane:
        await topology.ensure(bus, settings, ["default"])
        await topology.ensure(bus, settings, ["late"])
        await ringer.ring(bells(1, queue="late"))
        await until(lambda: lane.waiting == 1)


@pytest.mark.usefixtures("lanes")
async def test_pulls_of_two_workers_share_a_lane_without_stealing(bus: Bus, ringer: Ringer) -> None:
    async with pulling(bus, want=10) as one, pulling(bus, want=10) as other:
        rung = bells(100)
        await ringer.ring(rung)
        got: list[UUID] = []

        async def all_taken() -> bool:
            taken = one.take(5) + other.take(5)
            got.extend(task for _, ids in taken for task in ids)
            await pull.ack(bus, [bell for bell, _ in taken if bell.left == 0])
            return len(got) == 100

        await until(all_taken)
    assert sorted(got) == sorted(bell[0] for bell in rung)


# a lane that is full


@pytest.fixture
async def narrow(bus: Bus, settings: FleetSettings) -> None:
    """Lanes that hold five doorbells each."""
    await topology.ensure(bus, msgspec.structs.replace(settings, lane_limit=5), ["default"])


@pytest.mark.usefixtures("narrow")
async def test_a_full_lane_is_seen_counted_and_logged(bus: Bus, ringer: Ringer) -> None:
    before = REGISTRY.get_sample_value("waggle_doorbells_refused_total", {"reason": "stream full"}) or 0.0
    with structlog.testing.capture_logs() as lines:
        await ringer.ring(bells(20))
        await until(lambda: REGISTRY.get_sample_value("waggle_doorbells_refused_total", {"reason": "stream full"}) == before + 1)
    (line,) = [line for line in lines if "refuses doorbells" in line["event"]]
    assert (line["log_level"], line["reason"], line["lane"]) == ("warning", "stream full", "default-medium")
    assert await stream.doorbells(bus) == 5


@pytest.mark.usefixtures("narrow")
async def test_a_full_lane_does_not_fill_the_others(bus: Bus, ringer: Ringer) -> None:
    await ringer.ring(bells(20, priority=0))
    assert await ringer.ring_confirmed(bells(5, priority=3)) is None
    assert await stream.doorbells(bus) == 10


@pytest.mark.usefixtures("narrow")
async def test_a_confirmed_ring_says_that_the_lane_is_full(bus: Bus, ringer: Ringer) -> None:
    assert await ringer.ring_confirmed(bells(5)) is None
    assert await ringer.ring_confirmed(bells(1)) == "stream full"


async def test_a_confirmed_ring_without_a_stream_is_an_outage(ringer: Ringer) -> None:
    with pytest.raises(NATS_OUTAGE):
        await ringer.ring_confirmed(bells(1))


async def test_ringing_without_a_stream_is_seen_and_harms_nobody(ringer: Ringer) -> None:
    with structlog.testing.capture_logs() as lines:
        await ringer.ring(bells(3))
        await until(lambda: [line["reason"] for line in lines if "refuses doorbells" in line["event"]] == ["no stream"])


# the state of a lane


@pytest.mark.usefixtures("lanes")
async def test_the_head_of_a_lane_is_its_oldest_doorbell(bus: Bus) -> None:
    assert await lane_head.oldest_rung_at(bus, "default", 1) is None
    await stream.ring(bus, (uuid7(), "default", 1, NOON), (uuid7(), "default", 1, NOON + timedelta(seconds=1)), (uuid7(), "default", 2, NOON))
    assert await lane_head.oldest_rung_at(bus, "default", 1) == NOON
    async with pulling(bus, want=2) as lane:
        await until(lambda: lane.waiting == 2)
        assert await lane_head.oldest_rung_at(bus, "default", 1) == NOON, "a held doorbell is still in the stream"
        await pull.ack(bus, [bell for bell, _ in lane.take(1)])
        await until(lambda: _holds(bus, 2))
        assert await lane_head.oldest_rung_at(bus, "default", 1) == NOON + timedelta(seconds=1)


@pytest.mark.usefixtures("lanes")
async def test_a_head_that_cannot_be_read_is_unclear(bus: Bus) -> None:
    await bus.jetstream().publish(subjects.work("default", 1), b"hello")
    with pytest.raises(UnexpectedReply):
        await lane_head.oldest_rung_at(bus, "default", 1)


async def test_without_a_stream_a_lane_is_not_empty_but_unclear(bus: Bus) -> None:
    with pytest.raises(NATS_OUTAGE):
        await lane_head.oldest_rung_at(bus, "default", 1)
    with pytest.raises(NATS_OUTAGE):
        await lane_head.room(bus, "default", 1)


@pytest.mark.usefixtures("lanes")
async def test_without_nats_a_lane_is_not_empty_but_unclear(nats: NatsServer, bus: Bus) -> None:
    nats.kill()
    await until(lambda: not bus.connected)
    with pytest.raises(NATS_OUTAGE):
        await lane_head.oldest_rung_at(bus, "default", 1)


@pytest.mark.usefixtures("narrow")
async def test_the_room_of_a_lane_is_what_its_limit_leaves(bus: Bus) -> None:
    assert await lane_head.room(bus, "default", 1) == 5
    await stream.ring(bus, *bells(3))
    assert await lane_head.room(bus, "default", 1) == 2
    assert await lane_head.room(bus, "default", 2) == 5
    await stream.ring(bus, *bells(2))
    assert await lane_head.room(bus, "default", 1) == 0
