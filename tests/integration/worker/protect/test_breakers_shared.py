"""What two workers share of a breaker when names are forgotten, answers are lost and others write in between. The bucket is real, the time the test's."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.links import ANSWER_LOST, GO, LOST, Clock, Link
from support.servers import NatsServer
from waggle.bus import breakers as bucket
from waggle.bus import connection, subjects, topology
from waggle.bus.breakers import Entry, Record, State
from waggle.bus.connection import Bus
from waggle.context import BreakerOpen
from waggle_worker.protect.breakers import Breakers

NAME = "service"
Begin = Callable[[], tuple[Breakers, Link]]


@pytest.fixture
async def real(nats: NatsServer) -> AsyncIterator[Bus]:
    """A connection, and the bucket."""
    settings = FleetSettings(postgres_url="x", nats_url=nats.url)
    async with connection.connection(settings, "test") as opened:
        await until(lambda: opened.connected)
        await topology.ensure(opened, settings, [])
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def begin(real: Bus, clock: Clock) -> Begin:
    """Begins a worker: one failure opens its breakers, for ten seconds."""

    def begun() -> tuple[Breakers, Link]:
        link = Link(real, clock)
        return Breakers(link, FleetSettings(postgres_url="x", nats_url="x", breaker_threshold=1, breaker_reset=10.0, lease=15.0), clock.monotonic), link

    return begun


def trips(worker: Breakers) -> None:
    worker.failed(worker.of(NAME), None, "no answer")


async def opened(worker: Breakers) -> None:
    trips(worker)
    await worker.sharing.share()


async def found(real: Bus) -> Entry:
    entry = await bucket.entry(real, NAME)
    assert entry
    return entry


async def probe_closes_it(worker: Breakers) -> None:
    """Within a few calls; some are sent away while it finds out what the bucket holds."""
    breaker = worker.of(NAME)
    for _ in range(3):
        try:
            assert not worker.enter_now(breaker)
            token = await worker.probe(breaker)
        except BreakerOpen:
            await worker.sharing.share()
        else:
            worker.succeeded(breaker, token)
            await worker.sharing.share()
            return
    raise AssertionError("nobody may probe")


async def test_a_name_that_was_forgotten_while_it_was_open_can_still_be_probed(real: Bus, begin: Begin, clock: Clock) -> None:
    worker, _ = begin()
    await opened(worker)
    await real.jetstream().purge_stream(subjects.BREAKERS_STREAM, subject=subjects.breaker(NAME))  # as its age does after a week
    clock.now += 10.0
    await probe_closes_it(worker)
    assert (await found(real)).record.state is State.CLOSED


@pytest.mark.parametrize("data", [b"", b"hello"])
async def test_a_key_that_others_deleted_or_wrote_over_can_still_be_probed_and_told(real: Bus, begin: Begin, clock: Clock, data: bytes) -> None:
    worker, _ = begin()
    await opened(worker)
    headers = None if data else {"KV-Operation": "DEL"}
    await real.jetstream().publish(subjects.breaker(NAME), data, headers=headers)
    clock.now += 10.0
    await probe_closes_it(worker)
    assert (await found(real)).record.state is State.CLOSED

    await real.jetstream().publish(subjects.breaker(NAME), data, headers=headers)
    trips(worker)
    for _ in range(2):
        await worker.sharing.share()
    assert (await found(real)).record.state is State.OPEN


async def test_a_reset_wins_over_a_trip_that_was_decided_before_and_is_told_later(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, _), (away, link) = begin(), begin()
    await opened(worker)
    link.away = True
    trips(away)
    clock.now += 1.0
    await bucket.reset(Link(real, clock), NAME)
    link.away = False
    for _ in range(2):
        await away.sharing.share()
    assert (away.of(NAME).state, (await found(real)).record.state) == (State.CLOSED, State.CLOSED)


async def test_a_trip_that_came_after_the_reset_counts(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, _), (away, link) = begin(), begin()
    await opened(worker)
    await away.sharing.share()
    await bucket.reset(Link(real, clock), NAME)
    await away.sharing.share()
    link.away = True
    clock.now += 1.0
    trips(away)
    link.away = False
    await away.sharing.share()
    assert (await found(real)).record.state is State.OPEN


async def test_a_success_closes_what_was_opened_before_the_servers_clock_went_back(real: Bus, begin: Begin, clock: Clock) -> None:
    (ahead, _), (worker, _), (other, _) = begin(), begin(), begin()
    await opened(ahead)
    clock.now -= 3_600.0
    for one in (worker, other):
        await one.sharing.share()
        assert one.of(NAME).state is State.OPEN
    clock.now += 10.0
    for one in (worker, other):
        one.of(NAME).until = clock.now
    await probe_closes_it(worker)
    await other.sharing.share()
    assert other.of(NAME).state is State.CLOSED


async def test_what_fails_after_the_reset_is_not_closed_by_it_even_if_the_opening_before_is_read_later(real: Bus, begin: Begin, clock: Clock) -> None:
    (other, _), (worker, link) = begin(), begin()
    await opened(other)
    sharing = asyncio.create_task(worker.sharing.share())
    link.stepped.add(sharing)
    await passes(link, subjects.BREAKERS_INFO)
    await until(lambda: link.gates)
    link.gates[0].fate.set_result(GO)
    await until(lambda: link.gates and link.gates[0].has_left)  # the answer says: open
    clock.now += 1.0
    await bucket.reset(Link(real, clock), NAME)
    clock.now += 1.0
    trips(worker)
    while not sharing.done():
        await passes(link)
    await worker.sharing.share()
    assert (worker.of(NAME).state, (await found(real)).record.state) == (State.OPEN, State.OPEN)


async def test_what_failed_again_during_an_outage_is_not_closed_by_an_older_record(real: Bus, begin: Begin, clock: Clock) -> None:
    await bucket.put(real, Record(NAME, State.CLOSED), 0)
    worker, link = begin()
    link.away = True
    trips(worker)
    clock.now += 10.0
    worker.failed(worker.of(NAME), await worker.probe(worker.of(NAME)), "still none")
    link.away = False
    await worker.sharing.share()
    assert (worker.of(NAME).state, (await found(real)).record.state) == (State.OPEN, State.OPEN)


async def test_a_trip_while_the_name_is_being_registered_is_told(real: Bus, begin: Begin, clock: Clock) -> None:
    worker, link = begin()
    worker.of(NAME)
    sharing = asyncio.create_task(worker.sharing.share())
    link.stepped.add(sharing)
    await passes(link, subjects.BREAKERS_INFO)
    await until(lambda: link.gates)
    await bucket.put(real, Record(NAME, State.CLOSED), 0)  # another worker is first
    trips(worker)
    while not sharing.done():
        await passes(link)
    for _ in range(2):
        await worker.sharing.share()
    record = (await found(real)).record
    assert (worker.of(NAME).state, record.state, record.trips) == (State.OPEN, State.OPEN, 1)


async def test_a_reset_while_a_worker_finds_out_what_others_wrote_over_its_key_is_not_overlooked(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, link), (other, _) = begin(), begin()
    await opened(worker)
    await other.sharing.share()
    await real.jetstream().publish(subjects.breaker(NAME), b"hello")
    clock.now += 10.0
    with pytest.raises(BreakerOpen):
        await worker.probe(worker.of(NAME))  # it is not what it knows
    sharing = asyncio.create_task(worker.sharing.share())
    link.stepped.add(sharing)
    for _ in range(3):
        await passes(link, "$JS.API")  # the clock, what is new (no record), and that this is all
    await until(lambda: link.gates)
    link.gates[0].fate.set_result(GO)
    await until(lambda: link.gates and link.gates[0].has_left)
    await bucket.put(real, Record(NAME, State.CLOSED), None)
    await bucket.reset(Link(real, clock), NAME)
    while not sharing.done():
        await passes(link)
    await worker.sharing.share()
    assert (worker.of(NAME).state, (await found(real)).record.state) == (State.CLOSED, State.CLOSED)


async def test_a_trip_while_the_name_is_being_written_is_told_afterwards(real: Bus, begin: Begin, clock: Clock) -> None:
    worker, link = begin()
    worker.of(NAME)
    sharing = asyncio.create_task(worker.sharing.share())
    link.stepped.add(sharing)
    await passes(link, subjects.BREAKERS_INFO)
    await until(lambda: link.gates)
    trips(worker)  # the closed record is on its way
    await passes(link, subjects.breaker(NAME))
    await sharing
    assert (await found(real)).record.state is State.CLOSED
    await worker.sharing.share()
    assert (await found(real)).record.state is State.OPEN


async def test_a_reset_wins_over_a_write_in_between(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, _), link = begin(), Link(real, clock)
    await opened(worker)
    resetting = asyncio.create_task(bucket.reset(link, NAME))
    link.stepped.add(resetting)
    await passes(link, subjects.BREAKERS_GET)
    await until(lambda: link.gates)
    clock.now += 10.0
    token = await worker.probe(worker.of(NAME))
    while not resetting.done():
        await passes(link)
    assert (await resetting, (await found(real)).record.state) == (await found(real), State.CLOSED)
    worker.failed(worker.of(NAME), token, "still none")
    for _ in range(2):
        await worker.sharing.share()
    assert worker.of(NAME).state is State.CLOSED


async def passes(link: Link, what: str = "", fate: str = GO) -> None:
    """The request that waits next leaves and is answered; or what waits otherwise."""
    for _ in range(2 if what else 1):
        await until(lambda: link.gates or not any(task and not task.done() for task in link.stepped))
        for gate in link.gates[:1]:
            assert what in gate.what
            gate.fate.set_result(fate)
            await until(lambda gate=gate: gate not in link.gates)  # type: ignore[misc]


@pytest.mark.parametrize("fate", [LOST, ANSWER_LOST])
async def test_a_trip_whose_write_has_no_answer_is_told_all_the_same(real: Bus, begin: Begin, clock: Clock, fate: str) -> None:
    (worker, link), (other, _) = begin(), begin()
    await worker.sharing.share()
    trips(worker)
    sharing = asyncio.create_task(worker.sharing.share())
    link.stepped.add(sharing)
    await passes(link, subjects.BREAKERS_INFO)
    await passes(link, "", fate)
    await sharing
    await worker.sharing.share()
    await other.sharing.share()
    assert (other.of(NAME).state, (await found(real)).record.trips) == (State.OPEN, 1)


async def test_a_probe_whose_answer_was_lost_is_the_fleets_one(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, link), (other, _) = begin(), begin()
    await opened(worker)
    await other.sharing.share()
    clock.now += 10.0
    asking = asyncio.create_task(worker.probe(worker.of(NAME)))
    link.stepped.add(asking)
    await passes(link, "", ANSWER_LOST)
    assert (await asking) == (await found(real)).record.probe
    await other.sharing.share()
    with pytest.raises(BreakerOpen):
        other.enter_now(other.of(NAME))
    await worker.sharing.share()
    worker.succeeded(worker.of(NAME), await asking)
    await worker.sharing.share()
    await other.sharing.share()
    assert other.of(NAME).state is State.CLOSED


async def test_a_probe_that_takes_longer_than_its_lease_keeps_its_place_and_a_dead_one_does_not(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, _), (other, _) = begin(), begin()
    await opened(worker)
    clock.now += 10.0
    await worker.probe(worker.of(NAME))
    for _ in range(2):
        clock.now += 10.0  # the lease is 15
        await worker.sharing.share()
    await other.sharing.share()
    with pytest.raises(BreakerOpen):
        other.enter_now(other.of(NAME))
    clock.now += 15.0  # the worker was silent since
    await probe_closes_it(other)


async def test_a_probe_that_was_cancelled_while_it_was_asked_for_is_handed_back(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, link), (other, _) = begin(), begin()
    await opened(worker)
    clock.now += 10.0
    asking = asyncio.create_task(worker.probe(worker.of(NAME)))
    link.stepped.add(asking)
    await until(lambda: link.gates)
    link.gates[0].fate.set_result(GO)
    await until(lambda: link.gates and link.gates[0].has_left)  # the bucket has it, the worker does not know
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    with pytest.raises(BreakerOpen):
        await worker.probe(worker.of(NAME))  # another call asks before it is released
    for _ in range(2):
        await worker.sharing.share()
    await other.sharing.share()
    await probe_closes_it(other)


async def test_a_wipe_does_not_take_the_probe_away_from_its_worker(real: Bus, begin: Begin, clock: Clock) -> None:
    (worker, _), (other, _) = begin(), begin()
    await opened(worker)
    clock.now += 10.0
    token = await worker.probe(worker.of(NAME))
    await other.sharing.share()
    await real.jetstream().delete_stream(subjects.BREAKERS_STREAM)
    await topology.ensure(real, FleetSettings(postgres_url="x", nats_url="x"), [])
    await other.sharing.share()  # it is the first to tell
    assert (await found(real)).record.probe == token
    await worker.sharing.share()
    worker.succeeded(worker.of(NAME), token)
    await worker.sharing.share()
    await other.sharing.share()
    assert other.of(NAME).state is State.CLOSED


async def test_a_full_bucket_keeps_sharing_what_it_holds(real: Bus, begin: Begin, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "MAX_BREAKERS", 1)
    await real.jetstream().update_stream(topology.breakers_stream(FleetSettings(postgres_url="x", nats_url="x")))
    (worker, _), (other, _) = begin(), begin()
    worker.of(NAME)
    await worker.sharing.share()
    worker.failed(worker.of("another"), None, "no answer")  # there is no room for it
    await worker.sharing.share()
    await opened(worker)
    await other.sharing.share()
    assert other.of(NAME).state is State.OPEN
    clock.now += 10.0
    another = worker.of("another")
    worker.succeeded(another, await worker.probe(another))  # it is the worker's own
    token = await worker.probe(worker.of(NAME))
    assert (another.state, (await found(real)).record.probe) == (State.CLOSED, token)
