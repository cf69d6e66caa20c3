"""Whether NATS stores is judged by acks: a missing one is looked into by a probe, which leaves nothing behind."""

from support import full_disk
from support.facts import until
from support.fleet import FleetSettings
from support.servers import NatsServer
from waggle.bus import subjects, topology
from waggle.bus.connection import Bus
from waggle.bus.doorbells import stream
from waggle.bus.storing import ACK_SECONDS, Storing, probe

LANE = "default-medium"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_probe_is_stored_and_leaves_nothing_behind(bus: Bus, lanes: None) -> None:
    assert await probe(bus) is None
    assert subjects.PROBE not in (await stream(bus)).held


async def test_a_probe_says_why_nothing_is_stored(bus: Bus, nats: NatsServer, lanes: None) -> None:
    full_disk.fill(nats.pid)
    try:
        assert await until(lambda: probe(bus), 20.0) == "no ack within 2 s"
    finally:
        full_disk.make_room(nats.pid)
        nats.kill()
        nats.start()


async def test_without_a_stream_nothing_is_stored(bus: Bus) -> None:
    assert await probe(bus) is not None


async def test_an_ack_that_comes_late_is_no_outage_while_a_probe_is_stored(bus: Bus, lanes: None) -> None:
    clock = Clock()
    storing = Storing(bus, clock)
    storing.asked(LANE)
    clock.now += ACK_SECONDS + 0.1
    await storing.look()
    assert storing.ok


async def test_what_was_asked_on_another_connection_is_not_waited_for(bus: Bus, nats: NatsServer) -> None:
    clock = Clock()
    storing = Storing(bus, clock)
    storing.asked(LANE)
    generation = bus.generation
    nats.kill()
    nats.start()
    await until(lambda: bus.generation > generation and bus.connected, 10.0)
    clock.now += ACK_SECONDS + 0.1
    await storing.look()
    assert storing.ok, "without a stream, a probe would fail"


async def test_a_missing_ack_and_a_failed_probe_are_an_outage_until_a_probe_is_stored(bus: Bus, lanes: None, settings: FleetSettings) -> None:
    clock = Clock()
    storing = Storing(bus, clock)
    storing.asked(LANE)
    await bus.jetstream().delete_stream(subjects.WORK_STREAM)
    await storing.look()
    assert storing.ok, "it is not late yet"
    clock.now += ACK_SECONDS + 0.1
    await storing.look()
    assert not storing.ok
    storing.answered(LANE, None)
    await storing.look()
    assert not storing.ok, "an ack of before tells nothing"
    await topology.ensure(bus, settings, ["default"])
    await storing.look()
    assert storing.ok


async def test_answers_that_there_is_no_stream_are_looked_into(bus: Bus) -> None:
    clock = Clock()
    storing = Storing(bus, clock)
    for _ in range(3):
        storing.asked(LANE)
        clock.now += ACK_SECONDS / 2
        storing.answered(LANE, "no stream")
    await storing.look()
    assert not storing.ok


async def test_a_full_lane_is_no_outage(bus: Bus) -> None:
    clock = Clock()
    storing = Storing(bus, clock)
    storing.asked(LANE)
    storing.answered(LANE, "stream full")
    clock.now += ACK_SECONDS + 0.1
    await storing.look()
    assert storing.ok
