"""The orphan rule: a claimable task rung before the oldest doorbell of its lane, and before the request for that, has lost its doorbell."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest
import structlog.testing
from uuid_utils.compat import uuid7

from support import given, stream
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.servers import NatsServer
from support.system import Services
from waggle.bus import subjects, topology
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.repair.orphans import NOTHING_KNOWN, limit
from waggle.store import waiting
from waggle_scheduler import orphans
from waggle_scheduler.waiting_lanes import WaitingLanes

Pool = asyncpg.Pool
LANE = ("default", 1)
NOON = datetime.fromisoformat("2026-01-01T12:00:00Z")


@pytest.fixture
def ringer(bus: Bus) -> Ringer:
    return Ringer(bus, subjects.IDS_LIMIT)


async def rung_ago(pool: Pool, seconds: float, count: int = 1) -> list[UUID]:
    """Tasks rung the given seconds ago, without a doorbell in the stream."""
    ids = await given.waiting(pool, count)
    await given.change(pool, ids, f"rung_at = now() - interval '{seconds} s'")
    return ids


async def head(pool: Pool, bus: Bus, seconds: float, lane: tuple[str, int] = LANE) -> None:
    """A doorbell at the head of the lane, rung the given seconds ago for a task that has ended."""
    await stream.ring(bus, (uuid7(), *lane, await waiting.now(pool) - timedelta(seconds=seconds)))


async def rung_again(pool: Pool, ids: list[UUID]) -> set[UUID]:
    rows = await pool.fetch("SELECT id FROM waggle.tasks WHERE id = ANY ($1) AND rung_at > now() - interval '1 s'", ids)
    return {row["id"] for row in rows}


def test_the_limit_is_five_seconds_before_the_head_or_the_question_whichever_came_first() -> None:
    def at(seconds: float) -> datetime:
        return NOON + timedelta(seconds=seconds)

    assert limit(None, NOON) == at(-5)
    assert limit(at(-60), NOON) == at(-65)
    assert limit(at(4), NOON) == at(-5)
    assert limit(at(60), NOON) == NOTHING_KNOWN  # rung before the clock was set back


@pytest.mark.parametrize(
    ("oldest_doorbell", "task", "is_orphan"),
    [
        (None, 6.0, True),  # an empty lane: every doorbell is lost
        (None, 3.0, False),  # its doorbell may be in transit
        (30.0, 60.0, True),  # rung long before the head: it should have been the head
        (30.0, 33.0, False),  # within the grace period of the head
        (30.0, 20.0, False),  # behind the head: waits its turn
        (60.0, 60.0, False),  # may be the head itself
        (1.0, 5.5, False),  # older than the head by less than the grace period
        (1.0, 6.5, True),
    ],
)
@pytest.mark.usefixtures("lanes")
async def test_the_rule(pool: Pool, bus: Bus, ringer: Ringer, oldest_doorbell: float | None, task: float, is_orphan: bool) -> None:
    ids = await rung_ago(pool, task)
    if oldest_doorbell is not None:
        await head(pool, bus, oldest_doorbell)
    before = await stream.doorbells(bus)
    await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await rung_again(pool, ids) == (set(ids) if is_orphan else set())
    assert await stream.doorbells(bus) == before + is_orphan


@pytest.mark.usefixtures("lanes")
async def test_a_head_in_another_lane_says_nothing_about_this_one(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    ids = await rung_ago(pool, 30.0)
    await head(pool, bus, 60.0, ("default", 2))
    await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await rung_again(pool, ids) == set(ids)


@pytest.mark.usefixtures("lanes")
async def test_a_task_that_cannot_be_claimed_is_no_orphan(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    ids = await rung_ago(pool, 60.0, 3)
    await given.change(pool, ids[0], "deadline = now()")
    await given.change(pool, ids[1], "run_at = now() + interval '1 hour'")
    await given.change(pool, ids[2], "status = 'cancelled'")
    await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await rung_again(pool, ids) == set()


@pytest.mark.usefixtures("lanes")
async def test_a_head_that_cannot_be_read_is_no_reason_to_ring(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    ids = await rung_ago(pool, 60.0)
    await bus.jetstream().publish(subjects.work(*LANE), b"hello")
    assert not await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await rung_again(pool, ids) == set()


async def test_a_stream_that_is_not_there_is_no_empty_lane(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    ids = await rung_ago(pool, 60.0)
    assert not await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await rung_again(pool, ids) == set()


@pytest.mark.usefixtures("lanes")
async def test_nats_that_does_not_answer_is_no_empty_lane(pool: Pool, bus: Bus, ringer: Ringer, nats: NatsServer) -> None:
    ids = await rung_ago(pool, 60.0)
    nats.pause()
    try:
        assert not await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    finally:
        nats.resume()
    assert await rung_again(pool, ids) == set()


async def test_no_more_are_rung_than_the_lane_has_room_for(pool: Pool, bus: Bus, ringer: Ringer, settings: FleetSettings) -> None:
    await topology.ensure(bus, msgspec.structs.replace(settings, lane_limit=5), ["default"])
    ids = await rung_ago(pool, 60.0, 12)
    assert not await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert len(await rung_again(pool, ids)) == 5
    assert await stream.doorbells(bus) == 5


@pytest.mark.usefixtures("lanes")
async def test_a_full_batch_may_have_more_behind_it(pool: Pool, bus: Bus, ringer: Ringer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "ORPHAN_BATCH", 10)
    await rung_ago(pool, 60.0, 15)
    assert await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert not await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await stream.doorbells(bus) == 15


@pytest.mark.usefixtures("lanes")
async def test_what_was_rung_again_is_no_orphan_a_moment_later(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    await rung_ago(pool, 60.0, 20)
    for _ in range(3):
        await orphans.ring_lane(pool, bus, ringer, LANE, orphans.Lane())
    assert await stream.doorbells(bus) == 20


@pytest.mark.usefixtures("lanes")
async def test_the_orphans_of_every_lane_are_rung_and_told(pool: Pool, bus: Bus, ringer: Ringer) -> None:
    ids = await rung_ago(pool, 60.0, 40)
    await given.change(pool, ids[:10], "priority = 3")
    await given.change(pool, ids[10:20], "queue = 'mail'")
    with structlog.testing.capture_logs() as lines:
        async with loop(orphans.ring(pool, bus, ringer, WaitingLanes(), asyncio.Event())):
            await until(lambda: _holds(bus, 40))
            await until(lambda: len(lines) == 3)
    assert {line["log_level"] for line in lines} == {"warning"}
    assert {(line["queue"], line["priority"]): line["count"] for line in lines} == {("default", 1): 20, ("default", 3): 10, ("mail", 1): 10}


@pytest.mark.usefixtures("lanes")
async def test_the_orphans_of_a_paused_queue_are_left_alone(pool: Pool, bus: Bus, ringer: Ringer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "ORPHAN_SCAN_SECONDS", 0.1)
    await pool.execute("INSERT INTO waggle.queues (name, paused) VALUES ('a-paused-one', true)")
    paused = await rung_ago(pool, 60.0, 5)
    await given.change(pool, paused, "queue = 'a-paused-one'")
    others = await rung_ago(pool, 60.0, 5)
    async with loop(orphans.ring(pool, bus, ringer, WaitingLanes(), asyncio.Event())):
        await until(lambda: _holds(bus, 5))
        assert await rung_again(pool, [*paused, *others]) == set(others)
        await pool.execute("UPDATE waggle.queues SET paused = false")
        await until(lambda: _holds(bus, 10))


async def test_a_wiped_store_is_a_delay_and_not_a_loss(pool: Pool, bus: Bus, nats: NatsServer, start: Services) -> None:
    scheduler = await start("scheduler")
    ids = await rung_ago(pool, 4.0, 30)
    await stream.ring(bus, *[(task_id, *LANE, await waiting.now(pool)) for task_id in ids])
    generation = bus.generation
    nats.wipe()
    await until(lambda: bus.connected and bus.generation > generation)
    await until(lambda: len(scheduler.logged("topology created")) == 2)
    await until(lambda: _holds(bus, 30), 10)


async def _holds(bus: Bus, count: int) -> bool:
    return await stream.doorbells(bus) == count
