"""Times that Postgres knows and Python does not: they are read as the nearest that both know, on the connection that met one."""

from datetime import datetime

import asyncpg
import pytest

from support import given
from support.fleet import FleetSettings
from support.unchecked import unchecked
from waggle.store import postgres, waiting
from waggle.store.client import EARLIEST, LATEST, UnreadableAnswer

Pool = asyncpg.Pool


@pytest.mark.parametrize(("text", "read"), [("4713-01-01 BC", EARLIEST), ("20000-01-01", LATEST), ("294276-12-31", LATEST), ("0001-01-01 BC", EARLIEST)])
async def test_a_read_is_repeated_and_answers(pool: Pool, text: str, read: datetime) -> None:
    assert await pool.fetchval(f"SELECT timestamptz '{text} 00:00:00+00'") == read
    rows = await pool.fetch("SELECT $1::timestamptz AS at, NULL::timestamptz AS none, 'infinity'::timestamptz AS late, '-infinity'::timestamptz AS early", read)
    assert dict(rows[0]) | {"late": None, "early": None} == {"at": read, "none": None, "late": None, "early": None}
    assert rows[0]["late"].timestamp() > rows[0]["early"].timestamp()


async def test_times_within_are_as_they_were_to_the_microsecond(database: str, pool: Pool) -> None:
    async with pool.acquire() as connection:
        before = await waiting.now(connection)
        assert await connection.fetchval("SELECT timestamptz '20000-01-01'") == LATEST
        assert await connection.fetchval("SELECT $1::timestamptz", before) == before
        assert await connection.fetchval("SELECT $1::timestamptz = '2026-11-27 10:00:00.123457+00'", datetime.fromisoformat("2026-11-27T10:00:00.123457Z"))
        assert await connection.fetchval("SELECT $1::timestamptz IS NULL", None)
        assert await connection.fetchval("SELECT count(*) FROM unnest($1::timestamptz[])", [before, None]) == 2


async def test_a_write_whose_answer_cannot_be_read_is_an_outage_once(pool: Pool) -> None:
    """Its outcome is unknown, as when the connection is lost: whoever asked repeats it."""
    (task,) = await given.waiting(pool)
    async with unchecked(pool), pool.acquire() as connection:
        writes = "UPDATE waggle.tasks SET created = '20000-01-01' WHERE id = $1 RETURNING created"
        with pytest.raises(postgres.POSTGRES_OUTAGE) as raised:
            await connection.fetchval(writes, task)
        assert isinstance(raised.value, UnreadableAnswer)
        assert await connection.fetchval(writes, task) == LATEST


async def test_within_a_transaction(database: str) -> None:
    connection = await postgres.connect(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test")
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        assert await connection.fetchval("SELECT timestamptz '20000-01-01'") == LATEST
    await connection.close()
