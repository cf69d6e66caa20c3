"""The schema is brought up to date beside running services: nobody is held up, and nobody fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from support.facts import until
from support.loops import again_and_again
from support.schemas import go_back
from waggle.settings.services import DirectSettings
from waggle.store.client import Connection
from waggle.store.migrate import migrate
from waggle.store.postgres import connect, head

Pool = asyncpg.Pool

# What any version's claim locks: the functions of this version are not there yet.
CLAIM = """UPDATE waggle.tasks SET status = 'running' WHERE id = ANY ($1::uuid[]) AND status || '' = 'pending'
           AND EXISTS (SELECT FROM waggle.workers WHERE id = 'w1') RETURNING id"""

SUBMIT = """INSERT INTO waggle.tasks (id, type, queue, priority, payload, rung_at) VALUES ($1, 'demo.echo', 'default', 1, $2, now()) RETURNING id"""

WORKER = """INSERT INTO waggle.workers (id, host, pid, version, lease, concurrency, queues, types)
            VALUES ('w1', 'here', 1, '0', '1 hour', 10, '{default}', '{demo.echo}')"""


async def submitted(connection: Connection, payload: str = "{}") -> UUID:
    """A task, inserted with the columns that every version has."""
    made: UUID = await connection.fetchval(SUBMIT, uuid7(), payload)
    return made


@asynccontextmanager
async def work(database: str, pool: Pool) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Claims and submissions, all the time; gives a wait until there were twenty more of each."""
    await pool.execute(WORKER)
    done = {"claims": 0, "submissions": 0}

    async def claim() -> None:
        # new to the table: its claim waits for every lock that it needs
        connection = await connect(DirectSettings(postgres_url=database, nats_url="nats://not.used"), "test")
        await connection.fetch(CLAIM, [uuid7()])
        await connection.close()
        done["claims"] += 1

    async def submit() -> None:
        await submitted(pool)
        done["submissions"] += 1

    async def goes_on() -> None:
        before = dict(done)
        await until(lambda: all(done[what] > before[what] + 20 for what in done))

    async with again_and_again(claim, 0.002), again_and_again(submit, 0.002):
        yield goes_on


async def test_nobody_is_held_up_while_an_index_is_built(database: str, pool: Pool) -> None:
    """However long that takes: here until somebody's transaction ends, which it has to wait for."""
    await go_back(database, "0003")
    async with pool.acquire() as connection, work(database, pool) as goes_on:
        transaction = connection.transaction()
        await transaction.start()
        await submitted(connection)
        migrations = [asyncio.create_task(migrate(database)) for _ in range(2)]  # two at once
        building = "SELECT count(*) = 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for %'"
        await until(lambda: pool.fetchval(building))
        await goes_on()
        await transaction.commit()
        assert {after for _, after in await asyncio.gather(*migrations)} == {head()}


async def test_nobody_is_held_up_while_somebody_reads_the_table_for_long(database: str, pool: Pool) -> None:
    """A change of the table needs it for itself for a moment: it does not queue for that, in front of everybody else."""
    await go_back(database, "0004")
    async with pool.acquire() as connection, work(database, pool) as goes_on:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch("SELECT FROM waggle.tasks LIMIT 1")
        migration = asyncio.create_task(migrate(database))
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
        for _ in range(2):
            await until(lambda: pool.fetchval(waits))
            await goes_on()
        await transaction.commit()
        assert await migration == ("0004", head())


async def test_who_reads_one_table_for_long_keeps_nobody_from_another(database: str, pool: Pool) -> None:
    """A migration that changes two of them takes both, or none."""
    await go_back(database, "0020")
    async with pool.acquire() as connection, work(database, pool) as goes_on:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch("SELECT FROM waggle.workers LIMIT 1")
        migration = asyncio.create_task(migrate(database))
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
        for _ in range(2):
            await until(lambda: pool.fetchval(waits))
            await pool.execute("UPDATE waggle.task_types SET updated = now()")
            await goes_on()
        await transaction.commit()
        assert await migration == ("0020", head())


async def test_an_index_that_an_interrupted_try_left_behind_is_made_anew(database: str, pool: Pool) -> None:
    await go_back(database, "0003")
    await pool.execute("CREATE INDEX tasks_final ON waggle.tasks (id)")
    await pool.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'waggle.tasks_final'::regclass")
    assert await migrate(database) == ("0003", head())
    assert await pool.fetchval("SELECT indisvalid AND indnatts = 4 FROM pg_index WHERE indexrelid = 'waggle.tasks_final'::regclass")


async def test_values_of_before_are_read_as_they_were_after_an_upgrade(database: str, pool: Pool) -> None:
    await go_back(database, "0005")
    sent = f'{{"text": "{"word " * 100_000}"}}'
    before = await submitted(pool, sent)
    assert await migrate(database) == ("0005", head())
    after = await submitted(pool, sent)
    assert {row["payload"] for row in await pool.fetch("SELECT payload FROM waggle.tasks WHERE id = ANY ($1::uuid[])", [before, after])} == {sent}
    await go_back(database, "0005")
    again = await submitted(pool, sent)
    assert await pool.fetchval("SELECT pg_column_compression(payload) IS NOT NULL FROM waggle.tasks WHERE id = $1", again)
