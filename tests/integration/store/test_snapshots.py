"""Who keeps dead rows from being removed: each kind of holder is found while it holds, on real servers, and nobody else is."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.servers import PostgresServer
from support.standby import standby
from waggle.store import postgres, snapshots

Connection = asyncpg.Connection


@pytest.fixture
async def ours(own_postgres: PostgresServer) -> AsyncIterator[Connection]:
    own_postgres.kill()
    with (own_postgres.folder / "cluster" / "postgresql.auto.conf").open("a") as file:
        file.write("max_prepared_transactions = 2\n")
    own_postgres.start()
    connection = await postgres.connect(FleetSettings(postgres_url=own_postgres.url, nats_url="nats://not.used"), "test")
    yield connection
    await connection.close()


async def holders(connection: Connection) -> set[tuple[str, str]]:
    return {(one.kind, one.name) for one in await snapshots.held(connection)}


async def test_transactions_of_this_database_are_found_with_their_age(own_postgres: PostgresServer, ours: Connection) -> None:
    assert await holders(ours) == set()
    other, elsewhere = await asyncpg.connect(own_postgres.url), await asyncpg.connect(own_postgres.url.rpartition("/")[0] + "/postgres")
    await elsewhere.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await elsewhere.fetch("SELECT 1")
    await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await other.fetch("SELECT 1")
    pid = str(other.get_server_pid())
    (found,) = await snapshots.held(ours)
    assert (found.kind, found.name, found.state) == ("session", pid, "idle in transaction")
    assert found.seconds is not None
    assert 0 <= found.seconds < 60
    await other.execute("ROLLBACK")
    await other.execute("BEGIN")
    await other.execute("INSERT INTO waggle.queues (name) VALUES ('held')")
    await other.execute("PREPARE TRANSACTION 'left behind'")
    assert await holders(ours) == {("prepared transaction", "left behind")}
    await other.execute("ROLLBACK PREPARED 'left behind'")
    assert await holders(ours) == set()
    assert await snapshots.hidden(ours) == 0
    await other.close()
    await elsewhere.close()


async def test_a_standby_and_its_slot_are_found(own_postgres: PostgresServer, ours: Connection, folder: Path) -> None:
    with standby(own_postgres, folder / "standby") as second:
        reader = await asyncpg.connect(second.url)
        await reader.execute("ALTER SYSTEM SET hot_standby_feedback = on")
        await reader.execute("ALTER SYSTEM SET wal_receiver_status_interval = 1")
        await reader.execute("SELECT pg_reload_conf()")
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetch("SELECT 1")

        async def kinds() -> set[str]:
            return {kind for kind, _ in await holders(ours)}

        async def is_only(kind: str) -> bool:
            return await kinds() == {kind}

        await until(lambda: is_only("standby"), 20)
        await ours.execute("SELECT pg_create_physical_replication_slot('second')")
        await reader.execute("COMMIT")
        await reader.execute("ALTER SYSTEM SET primary_slot_name = 'second'")
        await reader.execute("SELECT pg_reload_conf()")
        await until(lambda: is_only("replication slot"), 20)
        await reader.close()
    found = [one for one in await snapshots.held(ours) if one.kind == "replication slot"]
    assert [(one.name, one.role) for one in found] == [("second", None)]


async def test_sessions_of_other_roles_are_counted_without_the_right_to_see_them(own_postgres: PostgresServer, ours: Connection) -> None:
    await ours.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    await ours.execute("GRANT USAGE ON SCHEMA waggle TO weak")
    await ours.execute("SET ROLE weak")
    other = await asyncpg.connect(own_postgres.url)
    assert await snapshots.hidden(ours) >= 1
    await ours.execute("RESET ROLE")
    assert await snapshots.hidden(ours) == 0
    await other.close()
