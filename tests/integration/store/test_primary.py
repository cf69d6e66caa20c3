"""Leases are counted from when this server became the primary: a restart, a crash recovery and a promotion cost no worker its lease."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest
import structlog.testing

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.servers import PostgresServer
from support.standby import standby
from waggle.store import leases, primary
from waggle.store import postgres as store
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.store.primary import PrimaryGate, PrimaryServer

Pool = asyncpg.Pool


async def an_old_lease(pool: Pool) -> None:
    """A worker whose last heartbeat was an hour ago, by a server that has been the primary for longer."""
    await given.alive(pool)
    await pool.execute("UPDATE waggle.workers SET last_seen = now() - interval '1 hour'")
    await pool.execute("UPDATE waggle.primary_server SET since = now() - interval '1 day'")
    assert not await leases.renew(pool, "w1", running=0, draining=False)


async def answers(pool: Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT true"))
    except POSTGRES_OUTAGE:
        return False


async def renews(pool: Pool) -> bool:
    return await leases.renew(pool, "w1", running=0, draining=False)


async def test_it_is_recorded_once_by_whoever_comes_first(pool: Pool) -> None:
    await pool.execute("DELETE FROM waggle.primary_server")
    seen = await asyncio.gather(*(primary.observe(pool) for _ in range(5)))
    assert len({(each.server, each.since) for each in seen}) == 1
    assert seen[0].server.timeline == 1


async def test_a_server_that_nobody_recorded_has_just_become_the_primary(pool: Pool) -> None:
    await an_old_lease(pool)
    await pool.execute("DELETE FROM waggle.primary_server")
    assert await renews(pool)


async def test_another_timeline_or_system_is_another_primary(pool: Pool) -> None:
    for change in ("timeline = timeline + 1", "system_identifier = system_identifier + 1"):
        await pool.execute(f"UPDATE waggle.primary_server SET since = now() - interval '1 day', {change}")
        seen = await primary.observe(pool)
        assert (seen.now - seen.since).total_seconds() < 60


async def test_a_restart_begins_every_lease_anew(own_postgres: PostgresServer, pool: Pool) -> None:
    await an_old_lease(pool)
    own_postgres.restart()
    await until(lambda: answers(pool))
    assert await renews(pool)


async def test_a_crash_recovery_in_the_same_postmaster_begins_every_lease_anew(own_postgres: PostgresServer, pool: Pool) -> None:
    """A backend that is killed makes Postgres restart all others: the start time of the postmaster and the timeline stay as they are."""
    await an_old_lease(pool)
    before = await primary.observe(pool)
    started, pid = await pool.fetchrow("SELECT pg_postmaster_start_time(), pg_backend_pid()")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: answers(pool))
    assert await pool.fetchval("SELECT pg_postmaster_start_time()") == started
    assert await renews(pool)
    after = await primary.observe(pool)
    assert after.server == before.server
    assert after.since > before.since


async def test_a_promotion_begins_every_lease_anew(own_postgres: PostgresServer, pool: Pool, folder: Path) -> None:
    await an_old_lease(pool)
    before = await primary.observe(pool)
    with standby(own_postgres, folder / "standby") as other:
        async with store.pool(FleetSettings(postgres_url=other.url, nats_url="nats://not.used"), "test", 2) as there:
            assert [worker["id"] for worker in await leases.workers(there)] == ["w1"]  # a standby can be read
            try:
                await primary.observe(there)
            except asyncpg.ReadOnlySQLTransactionError:
                pass
            else:
                raise AssertionError("a standby was taken for the primary")
            await other.caught_up(own_postgres.url)
            own_postgres.kill()
            await asyncio.to_thread(other.promote)
            assert await renews(there)
            after = await primary.observe(there)
    assert (after.server.system, after.server.timeline) == (before.server.system, before.server.timeline + 1)
    assert after.since > before.since


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_news_that_no_connection_confirms_stop_a_service_only_for_a_while(database: str) -> None:
    """A forged message on the subject, or an address that never moves."""
    clock = Clock()
    gate = PrimaryGate(clock)
    async with store.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 2, gate=gate) as pool:
        assert await pool.fetchval("SELECT true")
        assert gate.seen
        gate.hear(PrimaryServer(gate.seen.system, 99))
        with pytest.raises(primary.StalePrimary, match="/99 has replaced it"):
            await pool.fetchval("SELECT true")
        clock.now += primary.AWAY_SECONDS
        assert await pool.fetchval("SELECT true")
        gate.hear(PrimaryServer(gate.seen.system, 100))
        assert await pool.fetchval("SELECT true")  # it was wrong a moment ago
        clock.now += primary.DOUBT_SECONDS
        gate.hear(PrimaryServer(gate.seen.system, 100))
        with pytest.raises(primary.StalePrimary):
            await pool.fetchval("SELECT true")


async def test_another_system_stops_nobody_and_is_told_of_ours(database: str) -> None:
    gate = PrimaryGate()
    async with store.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 2, gate=gate) as pool:
        assert await pool.fetchval("SELECT true")
        assert gate.seen
        with structlog.testing.capture_logs() as lines:
            assert gate.hear(PrimaryServer(gate.seen.system + 1, 5))
        assert [line["event"] for line in lines] == ["services use different Postgres systems"]
        assert await pool.fetchval("SELECT true")
        assert not gate.hear(gate.seen)
