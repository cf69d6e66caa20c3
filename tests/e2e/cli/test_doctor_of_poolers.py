"""`waggle doctor` behind a pooler, and on a schema of another program: its advice fits what it met."""

from pathlib import Path

import asyncpg

from support.examined import Doctor
from support.pgbouncer import pgbouncer

Pool = asyncpg.Pool


async def test_a_pooler_without_a_direct_connection_is_named(doctor: Doctor, servers: dict[str, str], database: str, folder: Path) -> None:
    with pgbouncer(database, folder) as url:
        behind = {**servers, "WAGGLE_POSTGRES_URL": url}
        examined = await doctor(**behind)
        assert "is a pooler" in examined.one("postgres", "warning")
        assert "set WAGGLE_POSTGRES_DIRECT_URL" in examined.one("postgres", "warning")
        assert examined.one("schema", "ok")
        assert (await doctor(**behind, WAGGLE_POSTGRES_DIRECT_URL=database)).one("postgres", "ok")


async def test_what_a_pooler_refuses_is_told_apart(doctor: Doctor, servers: dict[str, str], database: str, folder: Path) -> None:
    """PgBouncer has the same error code for all of it."""
    with pgbouncer(database, folder) as url:
        place = url.rpartition("@")[2]
        wrong = {
            f"{url.rpartition('/')[0]}/nowhere": 'database "nowhere" does not exist → create the database',
            f"postgresql://waggle:hunter2@{place}": "password authentication failed → correct the user and password in WAGGLE_POSTGRES_URL",
            f"postgresql://nobody:hunter2@{place}": "password authentication failed → correct the user and password in WAGGLE_POSTGRES_URL",
        }
        for address, said in wrong.items():
            assert said in (await doctor(**{**servers, "WAGGLE_POSTGRES_URL": address})).one("postgres", "error")
    with pgbouncer(database, folder, mode="statement") as url:
        found = (await doctor(**{**servers, "WAGGLE_POSTGRES_URL": url})).one("postgres", "error")
    assert "transaction blocks not allowed in statement pooling mode → set pool_mode = transaction in the pooler" in found


async def test_a_migration_is_not_advised_where_it_cannot_run(doctor: Doctor, servers: dict[str, str], pool: Pool, database: str, folder: Path) -> None:
    await pool.execute("DROP SCHEMA waggle CASCADE")
    with pgbouncer(database, folder) as url:
        behind = {**servers, "WAGGLE_POSTGRES_URL": url}
        said = (await doctor(**behind)).one("schema", "error")
        assert said.startswith("the database has no schema → set WAGGLE_POSTGRES_DIRECT_URL to Postgres itself, then run `waggle migrate`")
        said = (await doctor(**behind, WAGGLE_POSTGRES_DIRECT_URL=database)).one("schema", "error")
        assert said == "the database has no schema → run `waggle migrate`"


async def test_a_schema_of_another_program_is_not_taken_for_an_old_or_new_waggle(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await pool.execute("CREATE SCHEMA another")
    await pool.execute("CREATE TABLE another.alembic_version (version_num varchar(32) PRIMARY KEY)")
    for revision in ("0001", "3f2a9c41d7be"):
        await pool.execute("DELETE FROM another.alembic_version")
        await pool.execute("INSERT INTO another.alembic_version VALUES ($1)", revision)
        examined = await doctor(**servers, WAGGLE_POSTGRES_SCHEMA="another")
        said = "the table alembic_version in the schema another belongs to another program → set WAGGLE_POSTGRES_SCHEMA to another schema"
        assert examined.one("schema", "error") == said
        assert "workers" not in examined.found
