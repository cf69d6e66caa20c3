"""A Postgres schema of its own: in an application's database, under any name, moved out of the schema of an older Waggle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
from uuid_utils.compat import uuid7

from support import processes
from support.facts import until
from support.fleet import FleetSettings
from support.keys import add_admin_key
from support.schemas import install_old
from support.system import Services, System, client_of
from support.whole import everything_works
from waggle.settings.environment import read
from waggle.settings.shared import SettingsError
from waggle.store import postgres, tasks
from waggle.store.migrate import migrate
from waggle.store.postgres import head

Pool = asyncpg.Pool

FOREIGN = """
CREATE TABLE public.tasks (id integer PRIMARY KEY, title text NOT NULL);
CREATE TABLE public.queues (name text PRIMARY KEY, members text[]);
CREATE TABLE public.users (id integer PRIMARY KEY, email text);
CREATE TABLE public.workers (id text PRIMARY KEY, hired date);
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
CREATE FUNCTION public.claimable(text, timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT false';
INSERT INTO public.tasks VALUES (1, 'water the plants');
INSERT INTO public.queues VALUES ('default', '{ann, bob}');
INSERT INTO public.users VALUES (1, 'ann@example.org');
INSERT INTO public.workers VALUES ('w1', '2020-01-01');
INSERT INTO public.alembic_version VALUES ('0003');
"""
FOREIGN_ROWS = """
SELECT jsonb_build_array((SELECT jsonb_agg(t) FROM public.tasks t), (SELECT jsonb_agg(t) FROM public.queues t), (SELECT jsonb_agg(t) FROM public.users t),
                         (SELECT jsonb_agg(t) FROM public.workers t), (SELECT jsonb_agg(t) FROM public.alembic_version t))
"""
OBJECTS = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


@asynccontextmanager
async def plain(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of an application: it knows nothing of Waggle."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def without_waggle(url: str) -> None:
    async with plain(url) as connection:
        await connection.execute("DROP SCHEMA waggle CASCADE")


@pytest.mark.parametrize("schema", ["waggle", "jobs"])
async def test_the_whole_system_works_beside_the_tables_of_an_application(settings: FleetSettings, start: Services, schema: str) -> None:
    await without_waggle(settings.postgres_url)
    start.settings = msgspec.structs.replace(settings, postgres_schema=schema)
    async with plain(settings.postgres_url) as application:
        await application.execute(FOREIGN)
        before, objects = await application.fetchval(FOREIGN_ROWS), await application.fetchval(OBJECTS)
        assert await migrate(settings.postgres_url, schema) == (None, head())
        assert await migrate(settings.postgres_url, schema) == (head(), head())
        await add_admin_key(settings.postgres_url, schema)
        system = await System.start(start)
        async with client_of(system.api) as client:
            await everything_works(client)
        assert await application.fetchval(FOREIGN_ROWS) == before
        assert await application.fetchval(OBJECTS) == objects
        assert await application.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname IN ('waggle', 'jobs')") == 1


GRANTS = """
CREATE ROLE {role} LOGIN PASSWORD 'secret';
GRANT USAGE ON SCHEMA waggle TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA waggle TO {role};
"""


async def test_services_need_no_more_rights_than_the_documentation_says(settings: FleetSettings, start: Services) -> None:
    parts = urlsplit(settings.postgres_url)
    role = f"service_{parts.path.removeprefix('/')}"
    async with plain(settings.postgres_url) as owner:
        await owner.execute(GRANTS.format(role=role))
        try:
            limited = f"postgresql://{role}:secret@{parts.hostname}:{parts.port}{parts.path}"
            start.settings = msgspec.structs.replace(settings, postgres_url=limited)
            system = await System.start(start)
            async with client_of(system.api) as client:
                await everything_works(client)
        finally:
            await processes.end(*start.processes)
            await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_tables_of_an_older_waggle_are_moved_with_their_rows(settings: FleetSettings, start: Services) -> None:
    await install_old(settings.postgres_url, "0006")
    ids = [uuid7() for _ in range(3)]
    async with plain(settings.postgres_url) as older:
        await older.executemany("INSERT INTO tasks (id, type, rung_at) VALUES ($1, 'demo.echo', now() - interval '1 minute')", [(task_id,) for task_id in ids])
        await older.execute("INSERT INTO queues (name, paused) VALUES ('mail', true)")
        await older.fetch("SELECT FROM tasks")  # a prepared statement that is there before
        assert await migrate(settings.postgres_url) == ("0006", head())
        with pytest.raises(asyncpg.UndefinedTableError):
            await older.fetch("SELECT FROM tasks")
        assert await older.fetchval("SELECT version_num FROM alembic_version") == "0007"  # what an older service reads: newer than it knows
        assert await older.fetchval("SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'") == [
            "alembic_version"
        ]
    assert await migrate(settings.postgres_url) == (head(), head())
    await System.start(start)
    async with postgres.pool(settings, "test", 2) as pool:
        await until(lambda: pool.fetchval("SELECT count(*) = 3 FROM waggle.tasks WHERE status = 'completed' AND id = ANY ($1::uuid[])", ids), 30.0)
        assert await pool.fetchval("SELECT paused FROM waggle.queues WHERE name = 'mail'")


async def test_the_move_waits_for_its_locks_without_holding_up_others(database: str) -> None:
    await install_old(database, "0006")
    async with plain(database) as reader, plain(database) as service, plain(database) as watcher:
        transaction = reader.transaction()
        await transaction.start()
        await reader.fetch("SELECT FROM workers LIMIT 1")
        migration = asyncio.create_task(migrate(database))
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
        for _ in range(2):
            await until(lambda: watcher.fetchval(waits))
            async with asyncio.timeout(3):
                await service.execute("INSERT INTO tasks (id, type) VALUES ($1, 'demo.echo')", uuid7())
        await transaction.commit()
        assert await migration == ("0006", head())
        assert await watcher.fetchval("SELECT count(*) FROM waggle.tasks") == 2


async def test_another_programs_alembic_version_is_not_taken_for_ours(database: str) -> None:
    await without_waggle(database)
    async with plain(database) as application:
        await application.execute(FOREIGN)
        with pytest.raises(SettingsError, match="belongs to another program"):
            await migrate(database, "public")
        assert await application.fetchval("SELECT version_num FROM public.alembic_version") == "0003"


async def test_whoever_wants_everything_in_public_can_have_it(database: str) -> None:
    await install_old(database, "0006")
    assert await migrate(database, "public") == ("0006", head())
    connection = await postgres.connect(FleetSettings(postgres_url=database, nats_url="nats://not.used", postgres_schema="public"), "test")
    assert (await postgres.versions(connection))[1] == head()
    assert await tasks.claim(connection, [uuid7()], "w1") == []
    await connection.close()


@pytest.mark.parametrize("name", ["Waggle", "1waggle", "pg_waggle", "information_schema", "way gle", 'a"b', "a.b", "", "x" * 49])
def test_a_name_that_postgres_or_the_channel_cannot_take_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="WAGGLE_POSTGRES_SCHEMA"):
        read(FleetSettings, {"WAGGLE_POSTGRES_URL": "postgresql://a/b", "WAGGLE_NATS_URL": "nats://a", "WAGGLE_POSTGRES_SCHEMA": name})
