"""Postgres is a primary and a synchronous standby, and the address names both: the primary is killed, and the standby is promoted, under load."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support.command_line import waggle
from support.facts import until
from support.fleet import FleetSettings
from support.loops import again_and_again
from support.oracle import History, all_at_rest, check, submit_load
from support.scale import crowd, figures
from support.servers import NatsServer, PostgresServer
from support.standby import Standby, standby
from support.system import Services, client_of
from waggle.store import postgres as store

Pool = asyncpg.Pool
LEASE = 2.0
WORKS_WITHIN = 5.0  # after the new primary takes writes
AT_REST_WITHIN = 20.0


@pytest.fixture
def other(own_postgres: PostgresServer, folder: Path) -> Iterator[Standby]:
    with standby(own_postgres, folder / "standby") as made:
        yield made


@pytest.fixture
def settings(own_postgres: PostgresServer, other: Standby, nats: NatsServer) -> FleetSettings:
    both = own_postgres.url.replace(f"127.0.0.1:{own_postgres.port}", f"127.0.0.1:{own_postgres.port},127.0.0.1:{other.port}")
    return FleetSettings(postgres_url=f"{both}?target_session_attrs=read-write", nats_url=nats.url, api_port=0, lease=LEASE, grace=2.0)


@pytest.fixture
async def there(other: Standby) -> AsyncIterator[Pool]:
    """The database on the standby."""
    async with store.pool(FleetSettings(postgres_url=other.url, nats_url="nats://not.used"), "test", 2) as made:
        yield made


@pytest.mark.parametrize("fault", ["killed", "stands still"])
async def test_nothing_acknowledged_is_lost_nothing_is_charged_and_work_goes_on(
    own_postgres: PostgresServer, other: Standby, settings: FleetSettings, pool: Pool, there: Pool, start: Services, effects: Path, fault: str
) -> None:
    migrated = waggle("migrate", place=effects.parent, WAGGLE_POSTGRES_URL=settings.postgres_url, WAGGLE_NATS_URL=settings.nats_url)
    assert migrated.returncode == 0, migrated.stderr
    await pool.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    await pool.execute("SELECT pg_reload_conf()")
    await until(lambda: pool.fetchval("SELECT bool_or(sync_state = 'sync') FROM pg_stat_replication"), 10.0)
    services = [await start("api"), await start("scheduler"), await start("dlq")]
    services.append(await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=20))
    history = History()
    task = {"type": "test.work", "payload": {"seconds": 0.2}}
    async with client_of(services[0]) as client, again_and_again(lambda: submit_load(client, history, 10, batch=10, **task), 0.05):
        await until(lambda: len(history.accepted) > 100, 20.0)
        own_postgres.kill() if fault == "killed" else own_postgres.freeze()
        await asyncio.to_thread(other.promote)
        since = time.monotonic()
        accepted = len(history.accepted)
        await until(lambda: len(history.accepted) > accepted + 10, 30.0, "tasks are accepted again")
        accepting = time.monotonic() - since
        done = await there.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'completed'")
        await until(lambda: there.fetchval("SELECT count(*) > $1 FROM waggle.tasks WHERE status = 'completed'", done), 30.0, "tasks are run again")
        working = time.monotonic() - since
    if fault != "killed":  # else the audit, which has just started, finds a primary at the first address
        own_postgres.thaw()
        own_postgres.kill()
    await all_at_rest(there, AT_REST_WITHIN)
    counts = await check(there, history, effects, duplicates_at_most=0)
    assert await there.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count + lost_count > 0") == 0
    assert all(service.alive for service in services)
    figures(f"the primary of two hosts {fault}", accepted_again_after=f"{accepting:.1f} s", ran_again_after=f"{working:.1f} s", **counts)
    assert max(accepting, working) <= WORKS_WITHIN * crowd()
