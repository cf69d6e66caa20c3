"""`waggle migrate --check` and `--sql`: the schema is compared with what the migrations make, and printed for psql."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest

from support.command_line import waggle
from support.fleet import FleetSettings
from support.schemas import install_old
from waggle.store import definitions, postgres
from waggle.store.migrate import migrate
from waggle.store.postgres import head
from waggle_embedded.binaries import find_postgres

Pool = asyncpg.Pool


async def read(database: str, schema: str = "waggle") -> definitions.Definitions:
    connection = await postgres.connect(FleetSettings(postgres_url=database, nats_url="nats://not.used", postgres_schema=schema), "test")
    try:
        return await definitions.read(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize("schema", ["waggle", "user"])
async def test_the_file_holds_what_the_migrations_make(database: str, schema: str) -> None:
    await migrate(database, schema)
    assert await read(database, schema) == definitions.expected(), "run `just definitions URL` with a migrated database"


DAMAGE = {
    "DROP TABLE waggle.redrives": "table redrives is missing",
    "ALTER TABLE waggle.tasks DROP COLUMN traceparent": "column tasks.traceparent is missing",
    "ALTER TABLE waggle.tasks ALTER COLUMN description DROP NOT NULL": "column tasks.description was changed: text DEFAULT ''::text",
    "ALTER TABLE waggle.tasks DROP CONSTRAINT tasks_priority_check": "constraint tasks.tasks_priority_check is missing",
    "DROP INDEX waggle.tasks_due": "index tasks.tasks_due is missing",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'waggle.tasks_due'::regclass": "index tasks.tasks_due was changed: CREATE INDEX",
    "DROP TRIGGER tasks_owe_cleanup ON waggle.tasks": "trigger tasks.tasks_owe_cleanup is missing",
    "ALTER TABLE waggle.tasks DISABLE TRIGGER tasks_owe_cleanup": "trigger tasks.tasks_owe_cleanup was changed",
    "DROP FUNCTION waggle.dead_letter_fits": "function dead_letter_fits(uuid, ",
    "CREATE OR REPLACE FUNCTION waggle.claimable(status text, run_at timestamptz, deadline timestamptz) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'": (
        "function claimable(text, timestamp with time zone, timestamp with time zone) was changed"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_was_damaged_is_named(database: str, pool: Pool, damage: str) -> None:
    await pool.execute(damage)
    (line,) = definitions.differences(definitions.expected(), await read(database))
    assert line.startswith(DAMAGE[damage])


async def test_what_others_added_is_no_damage(database: str, pool: Pool) -> None:
    await pool.execute("CREATE TABLE waggle.notes (id int)")
    await pool.execute("CREATE INDEX by_type ON waggle.tasks (type)")
    assert definitions.differences(definitions.expected(), await read(database)) == []


async def test_the_command_checks_and_says_by_its_exit_code(database: str, pool: Pool, folder: Path) -> None:
    environ = {"WAGGLE_POSTGRES_URL": database, "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
    run = waggle("migrate", "--check", place=folder, **environ)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"Postgres: the schema waggle is up to date ({head()}) and complete\n", "")
    await pool.execute("DROP INDEX waggle.tasks_due")
    run = waggle("migrate", "--check", place=folder, **environ)
    assert (run.returncode, run.stdout) == (1, "Postgres: index tasks.tasks_due is missing\n")
    assert run.stderr == "waggle migrate: Postgres: the schema waggle is damaged (1 difference)\n"
    await pool.execute("UPDATE waggle.alembic_version SET version_num = '0006'")
    run = waggle("migrate", "--check", place=folder, **environ)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"waggle migrate: Postgres: the schema waggle is at 0006, not at {head()}: run `waggle migrate`\n"


@pytest.mark.parametrize("older", [None, "0001", "0003", "0006"])
async def test_the_printed_sql_does_what_migrate_does(database: str, folder: Path, older: str | None) -> None:
    if older:
        await install_old(database, older)
    else:
        connection = await asyncpg.connect(database)
        await connection.execute("DROP SCHEMA waggle CASCADE")
        await connection.close()
    environ = {"WAGGLE_POSTGRES_URL": database, "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
    run = waggle("migrate", "--sql", place=folder, **environ)
    assert (run.returncode, run.stderr) == (0, "")
    await asyncio.to_thread(psql, database, run.stdout)
    assert await read(database) == definitions.expected()
    assert waggle("migrate", "--check", place=folder, **environ).returncode == 0
    assert waggle("migrate", "--sql", place=folder, **environ).stdout == f"-- The schema is up to date ({head()}).\n"


def psql(database: str, script: str) -> None:
    command = [find_postgres(None).folder / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", database]
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "NOTICE" not in line]
    assert (done.returncode, complaints) == (0, [])


def test_it_prints_or_checks(folder: Path) -> None:
    run = waggle("migrate", "--sql", "--check", place=folder)
    assert (run.returncode, run.stderr) == (2, "waggle migrate: --sql and --check exclude each other\n")
