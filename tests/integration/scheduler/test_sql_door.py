"""Tasks that were inserted by SQL are rung at their commit, and the loop that hears of them finds its way back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from support import stream
from support.facts import never, until
from support.fleet import FleetSettings
from support.loops import loop
from support.pgbouncer import pgbouncer
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store import catalogue
from waggle.store.primary import PrimaryGate
from waggle_scheduler import due, sql_door
from waggle_scheduler.due import DueRinger

Pool = asyncpg.Pool

pytestmark = pytest.mark.usefixtures("lanes")


@pytest.fixture(autouse=True)
async def ringer(pool: Pool, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DueRinger]:
    """The loop for due tasks, which does not look by itself for as long as a test lasts."""
    monkeypatch.setattr(due, "LOOK_SECONDS", 600.0)
    await catalogue.announce(pool, [catalogue.TaskType("a.b", "default", 3, 10.0, True, "{}")], ["default"])
    ringer = DueRinger(pool, bus, Ringer(bus, subjects.IDS_LIMIT))
    async with loop(ringer.ring(asyncio.Event())):
        yield ringer


async def rung_of(bus: Bus, count: int) -> bool:
    return await stream.tasks_rung(bus) == count


LISTENS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%sql-door' AND datname = current_database()"


def is_listening() -> bool:
    return REGISTRY.get_sample_value("waggle_sql_door_listening") == 1


async def enqueue(pool: Pool) -> None:
    await pool.execute("SELECT waggle.enqueue('a.b', '{}'::json)")


async def test_a_task_is_rung_at_the_commit_however_late_that_is(pool: Pool, bus: Bus, settings: FleetSettings, ringer: DueRinger) -> None:
    async with loop(sql_door.listen(settings, PrimaryGate(), ringer.look, asyncio.Event())), pool.acquire() as connection:
        await until(is_listening)
        for number in range(1, 11):
            await enqueue(pool)
            await until(lambda number=number: rung_of(bus, number))  # type: ignore[misc]
        async with connection.transaction():
            await connection.execute("SELECT waggle.enqueue('a.b', '{}'::json)")
            await never(lambda: rung_of(bus, 11), 1.0)
        await until(lambda: rung_of(bus, 11))
        rolled_back = connection.transaction()
        await rolled_back.start()
        await connection.execute("SELECT waggle.enqueue('a.b', '{}'::json)")
        await rolled_back.rollback()
        await never(lambda: rung_of(bus, 12), 0.5)


async def test_a_connection_that_ends_is_replaced_and_what_was_missed_is_rung(pool: Pool, bus: Bus, settings: FleetSettings, ringer: DueRinger) -> None:
    async with loop(sql_door.listen(settings, PrimaryGate(), ringer.look, asyncio.Event())):
        for number in range(1, 4):
            pid = await until(lambda: pool.fetchval(LISTENS))
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT waggle.enqueue('a.b', '{}'::json)")
                await connection.execute("SELECT pg_terminate_backend($1)", pid)
                await until(lambda: not is_listening())
            await until(lambda number=number: rung_of(bus, number))  # type: ignore[misc]
            await until(is_listening)


async def test_behind_a_pooler_it_says_that_nothing_is_heard(settings: FleetSettings, ringer: DueRinger, folder: Path) -> None:
    with pgbouncer(settings.postgres_url, folder) as url, capture_logs() as said:
        async with loop(sql_door.listen(msgspec.structs.replace(settings, postgres_url=url), PrimaryGate(), ringer.look, asyncio.Event())):
            await until(lambda: [line for line in said if line["log_level"] == "warning" and "half a second late" in line["event"]])
            assert not is_listening()
