"""Behind PgBouncer in transaction mode everything works; what needs a direct connection says so."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest

from support import given
from support.command_line import waggle
from support.facts import until
from support.fleet import FleetSettings
from support.pgbouncer import pgbouncer
from support.processes import Process
from support.system import Client, Services, System, client_of
from support.whole import everything_works, submit
from waggle.settings.services import DirectSettings
from waggle.settings.shared import SettingsError
from waggle.settings.sources import masked
from waggle.store import lists, postgres, tasks
from waggle.store.lists import Filters
from waggle.store.migrate import migrate

Pool = asyncpg.Pool

SETTINGS = """SELECT current_setting('synchronous_commit') || ' ' || current_setting('statement_timeout') || ' ' || current_setting('enable_seqscan')
              || ' ' || current_setting('transaction_isolation') || ' ' || current_setting('lock_timeout')"""
OURS = "on 9s off read committed 5s"


@pytest.fixture
def pooler(database: str, folder: Path) -> Iterator[str]:
    """The address of a PgBouncer before the test's database."""
    with pgbouncer(database, folder) as url:
        yield url


def settings_of(url: str, **more: str) -> DirectSettings:
    return DirectSettings(postgres_url=url, nats_url="nats://not.used", **more)


@asynccontextmanager
async def pooled(url: str, size: int = 5) -> AsyncIterator[Pool]:
    async with postgres.pool(settings_of(url), "test", size) as pool:
        yield pool


async def test_every_statement_has_the_settings_that_the_promises_rest_on(pooler: str, database: str) -> None:
    async with pooled(pooler) as pool, pooled(database) as direct:
        assert await direct.fetchval(SETTINGS) == OURS
        assert await pool.fetchval(SETTINGS) == OURS
        async with pool.acquire() as connection:
            assert await connection.fetchval(SETTINGS) == OURS
            async with connection.transaction():
                assert await connection.fetchval(SETTINGS) == OURS
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                assert await connection.fetchval(SETTINGS) == OURS.replace("read committed", "repeatable read")
                async with connection.transaction():
                    assert await connection.fetchval("SELECT 1") == 1


async def test_nothing_of_ours_is_left_in_the_sessions_of_the_pooler(database: str, folder: Path) -> None:
    with pgbouncer(database, folder, size=1) as url:
        async with pooled(url) as pool:
            await given.waiting(pool, 3)
            other = await asyncpg.connect(url, statement_cache_size=0)
            try:
                assert await other.fetchval("SELECT current_setting('statement_timeout')") == "0"
                assert await other.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
                assert await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
            finally:
                await other.close()


async def test_many_at_once_on_few_sessions_get_the_rows_of_their_own_statement(pooler: str) -> None:
    """A pooler hands the sessions round between statements: a prepared statement that outlived its transaction would be somebody else's."""
    async with pooled(pooler, 40) as pool:

        async def ask(number: int) -> None:
            for turn in range(20):
                value = number * 1000 + turn
                if turn % 2:
                    assert await pool.fetchval(f"SELECT $1::int + {number}", value) == value + number
                else:
                    assert await pool.fetchval(f"SELECT $1::text || ' {number}'", str(value)) == f"{value} {number}"

        await asyncio.gather(*(ask(number) for number in range(40)))


async def test_a_statement_that_fails_or_is_cancelled_leaves_no_transaction_open(pooler: str) -> None:
    async with pooled(pooler, 1) as pool:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await pool.fetchval("SELECT 1 / 0")
        assert await pool.fetchval(SETTINGS) == OURS
        sleeping = asyncio.create_task(pool.fetchval("SELECT pg_sleep(5)"))
        await asyncio.sleep(0.3)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert await pool.fetchval(SETTINGS) == OURS


async def test_a_pooler_that_ignores_the_startup_parameters_is_found_too(database: str, folder: Path) -> None:
    ignored = ", ".join(postgres.session("test").keys() - {"application_name"})
    with pgbouncer(database, folder, ignored=ignored) as url:
        async with pooled(url) as pool:
            assert await pool.fetchval(SETTINGS) == OURS


async def test_functions_of_the_store_work(pooler: str) -> None:
    async with pooled(pooler) as pool:
        await given.alive(pool)
        ids = await given.waiting(pool, 20)
        assert len(await tasks.claim(pool, ids, "w1")) == 20
        async with pool.acquire() as connection:
            found, _ = await lists.page(connection, Filters(statuses=["running"]), None, 50)
        assert {task.id for task in found} == set(ids)


async def test_the_direct_address_is_taken_for_what_needs_it(pooler: str, database: str) -> None:
    through = await postgres.connect(settings_of(pooler), "test")
    beside = await postgres.connect(settings_of(pooler, postgres_direct_url=database), "test")
    assert (through.through_pooler, beside.through_pooler) == (True, False)
    await through.close()
    await beside.close()


async def test_migrate_wants_a_direct_connection(pooler: str, database: str, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"is a pooler, .* set WAGGLE_POSTGRES_DIRECT_URL"):
        await migrate(pooler)
    environ = {"WAGGLE_POSTGRES_URL": pooler, "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
    run = waggle("migrate", place=folder, **environ)
    assert (run.returncode, run.stdout) == (2, "")
    assert "set WAGGLE_POSTGRES_DIRECT_URL" in run.stderr
    assert waggle("migrate", place=folder, **environ, WAGGLE_POSTGRES_DIRECT_URL=database).returncode == 0


REFUSING = {
    "a parameter": (
        *("transaction", "?options=-c%20geqo%3Doff"),
        *("unsupported startup parameter: options. Add the parameter to PgBouncer's ignore_startup_par", "ignore_startup_parameters of the pooler"),
    ),
    "a transaction": ("statement", "", "Set its pool_mode to transaction or session", "set pool_mode = transaction in the pooler"),
}


@pytest.mark.parametrize("case", REFUSING)
async def test_no_service_waits_for_a_pooler_that_refuses(case: str, database: str, folder: Path, start: Services) -> None:
    mode, parameters, advice, found = REFUSING[case]
    with pgbouncer(database, folder, mode=mode) as url:
        for name in ("api", "worker", "dlq", "scheduler"):
            process = start.launch(name, postgres_url=url + parameters)
            assert await process.ended() == 2
            assert f"WAGGLE_POSTGRES_URL: {masked(url)}" in process.tail()
            assert advice in process.tail()
        environ = {"WAGGLE_POSTGRES_URL": url + parameters, "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
        for command in (("migrate",), ("migrate", "--check"), ("audit",)):
            run = await asyncio.to_thread(waggle, *command, place=folder, **environ)
            assert (run.returncode, run.stdout) == (2, ""), command
            assert advice in run.stderr
        run = await asyncio.to_thread(waggle, "doctor", place=folder, **environ)
        assert run.returncode == 4
        assert found in run.stdout


async def test_what_a_pooler_ignores_is_no_error(database: str, folder: Path) -> None:
    with pgbouncer(database, folder, ignored="options") as url:
        async with pooled(f"{url}?options=-c%20geqo%3Doff&application_name=shop") as pool:
            assert await pool.fetchval(SETTINGS) == OURS
            assert await pool.fetchval("SELECT current_setting('application_name')") == "waggle-test shop"


async def test_the_whole_system_works_through_it(settings: FleetSettings, start: Services, pooler: str, database: str) -> None:
    start.settings = msgspec.structs.replace(settings, postgres_url=pooler)
    system = await System.start(start)
    async with client_of(system.api) as client, pooled(database) as pool:
        await everything_works(client)
        lags = sorted([await lag(client, pool) for _ in range(20)])
    assert lags[len(lags) // 2] < 0.05, lags  # a look twice a second would be later


async def lag(client: Client, pool: Pool) -> float:
    """Seconds between a task's time and its doorbell."""
    task_id = await submit(client, type="demo.echo", payload={}, delay=0.02)
    await until(lambda: pool.fetchval("SELECT rung_at IS NOT NULL FROM waggle.tasks WHERE id = $1::uuid", task_id))
    return float(await pool.fetchval("SELECT extract(epoch FROM rung_at - run_at)::float8 FROM waggle.tasks WHERE id = $1::uuid", task_id))


async def logged(process: Process, event: str) -> list[dict[str, object]]:
    await until(lambda: process.logged(event))
    return process.logged(event)
