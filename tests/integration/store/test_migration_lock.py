"""One migration at a time: it waits for another one, says who that is, and does not wait for ever."""

import asyncio

import asyncpg
import pytest

from waggle.store import migrate as migration
from waggle.store.connections import direct
from waggle.store.migrate import LOCK, migrate
from waggle.store.postgres import head


async def test_a_lock_that_was_left_behind_is_named_and_not_waited_for_ever(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an older Waggle leaves it in a session of a pooler."""
    monkeypatch.setattr(migration, "WAIT_SECONDS", 1.0)
    left = await asyncpg.connect(database, server_settings={"application_name": "a pooler"})
    try:
        await left.execute("SELECT pg_advisory_lock($1)", LOCK)
        named = rf"process {left.get_server_pid()} \(a pooler of 127\.0\.0\.1, idle since .*Z\)"
        with pytest.raises(TimeoutError, match=rf"^another migration has the lock for 1 s: {named}.*SELECT pg_terminate_backend"):
            await migrate(database)
        assert f"waiting: process {left.get_server_pid()} (a pooler" in capsys.readouterr().err
        going = asyncio.create_task(migrate(database))
        await asyncio.sleep(0.3)
        await left.execute("SELECT pg_advisory_unlock($1)", LOCK)
        assert await going == (head(), head())
    finally:
        await left.close()


LIMITS = ("statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")


async def test_whatever_a_role_has_set_the_migrations_run(database: str) -> None:
    """A snapshot that the transaction with the lock held would keep an index from being built; a short limit would end it."""
    connection = await asyncpg.connect(database)
    name = database.rpartition("/")[2]
    await connection.execute("DROP SCHEMA waggle CASCADE")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = "repeatable read"')
    await connection.execute(f'ALTER DATABASE "{name}" SET idle_in_transaction_session_timeout = 1')
    assert sorted(await asyncio.gather(migrate(database), migrate(database)), key=str) == [(head(), head()), (None, head())]
    assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    await connection.close()


async def test_no_limit_of_a_role_is_left_in_a_session_that_migrates(database: str) -> None:
    connection = await asyncpg.connect(database)
    name = database.rpartition("/")[2]
    known = [row["name"] for row in await connection.fetch("SELECT name FROM pg_settings WHERE name = ANY($1)", LIMITS)]
    for limit in known:
        await connection.execute(f'ALTER DATABASE "{name}" SET {limit} = 7777')
    await connection.close()
    migrating = await direct(database, "migrate")()
    assert {limit: await migrating.fetchval("SELECT current_setting($1)", limit) for limit in known} == dict.fromkeys(known, "0")
    await migrating.close()
