"""`waggle migrate`: what it does to an empty database and an empty NATS, and how it reports failures."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog

from support.command_line import Called, called, waggle
from support.servers import NatsServer
from waggle.bus.connection import Bus
from waggle.store.postgres import head


@pytest.fixture
async def empty_database(database: str) -> str:
    """A database without a schema."""
    connection = await asyncpg.connect(database)
    await connection.execute("DROP SCHEMA waggle CASCADE")
    await connection.close()
    return database


@pytest.fixture
def migrate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Called]]:
    """Run `waggle migrate` in this process."""

    def run(**environ: str) -> Called:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return called(capsys, "migrate")

    yield run
    structlog.reset_defaults()  # the command sets how its process logs


async def test_it_makes_the_schema_and_the_streams_and_can_be_repeated(empty_database: str, nats: NatsServer, bus: Bus, folder: Path) -> None:
    check = waggle("migrate", "--check", place=folder, WAGGLE_POSTGRES_URL=empty_database, WAGGLE_NATS_URL=nats.url)
    assert (check.returncode, check.stderr) == (1, "waggle migrate: Postgres: the schema waggle has no tables: run `waggle migrate`\n")

    first = waggle("migrate", place=folder, WAGGLE_POSTGRES_URL=empty_database, WAGGLE_NATS_URL=nats.url)
    assert (first.returncode, first.stderr) == (0, "")
    created = "WAGGLE_WORK, KV_waggle_breakers, default-low, default-medium, default-high, default-critical, WAGGLE_RATES"
    created += ", WAGGLE_SUBMIT, WAGGLE_REJECTED, ingest, WAGGLE_EVENTS, WAGGLE_STREAMS"
    assert first.stdout == f"Postgres: the schema was created ({head()})\nNATS: created {created}\n"
    assert (await bus.jetstream().stream_info("WAGGLE_WORK")).state.consumer_count == 4

    again = waggle("migrate", place=folder, WAGGLE_POSTGRES_URL=empty_database, WAGGLE_NATS_URL=nats.url)
    assert (again.returncode, again.stdout) == (0, f"Postgres: the schema is up to date ({head()})\nNATS: the streams are up to date\n")


@pytest.mark.parametrize(("options", "output"), [((), "schema is up to date"), (("--check",), "up to date"), (("--sql",), "-- The schema is up to date")])
def test_the_waggle_up_of_this_folder_or_of_one_above_it_is_found(database: str, nats: NatsServer, folder: Path, options: tuple[str, ...], output: str) -> None:
    (folder / ".waggle").mkdir()
    (folder / ".waggle" / "up.json").write_text(json.dumps({"postgres_url": database, "nats_url": nats.url}))
    (folder / "below").mkdir()
    for place in (folder, folder / "below"):
        run = waggle("migrate", *options, place=place)
        assert (run.returncode, run.stderr) == (0, "")
        assert output in run.stdout


def test_a_variable_comes_before_the_waggle_up_of_this_folder(database: str, nats: NatsServer, folder: Path) -> None:
    (folder / ".waggle").mkdir()
    (folder / ".waggle" / "up.json").write_text(json.dumps({"postgres_url": database, "nats_url": nats.url}))
    run = waggle("migrate", "--check", place=folder, WAGGLE_POSTGRES_URL="postgresql://u@127.0.0.1:1/waggle")
    assert (run.returncode, run.stdout) == (1, "")


WRONG = {
    "a Postgres that is away": ("postgresql://u:secret@127.0.0.1:1/waggle", 1, "waggle migrate: Postgres: Connect call failed ('127.0.0.1', 1)\n"),
    "another kind of database": ("mysql://u:secret@127.0.0.1:1/waggle", 2, "must be postgresql://user"),
    "an invalid port": ("postgresql://u:secret@127.0.0.1:port/waggle", 2, "WAGGLE_POSTGRES_URL must be postgresql://user"),
    "nothing": ("", 2, "WAGGLE_POSTGRES_URL"),
}


def test_an_unreachable_nats_is_left_to_the_scheduler(database: str, migrate: Callable[..., Called]) -> None:
    run = migrate(WAGGLE_POSTGRES_URL=database, WAGGLE_NATS_URL="nats://127.0.0.1:1")
    assert (run.code, run.out) == (0, f"Postgres: the schema is up to date ({head()})\n")
    assert run.err == "NATS: no answer, nothing done; the scheduler creates the streams as soon as NATS answers\n"


@pytest.mark.parametrize("case", WRONG)
def test_it_says_what_is_wrong_with(case: str, migrate: Callable[..., Called]) -> None:
    url, code, message = WRONG[case]
    run = migrate(WAGGLE_POSTGRES_URL=url, WAGGLE_NATS_URL="nats://127.0.0.1:1")
    assert (run.code, run.out) == (code, "")
    assert run.err.startswith("waggle migrate: ")
    assert message in run.err
    assert "Traceback" not in run.err
    assert "secret" not in run.err


async def test_a_database_of_a_newer_waggle_is_left_alone(database: str, folder: Path) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE waggle.alembic_version SET version_num = '9999'")
    run = waggle("migrate", place=folder, WAGGLE_POSTGRES_URL=database, WAGGLE_NATS_URL="nats://127.0.0.1:1")
    assert (run.returncode, run.stdout) == (1, "")
    assert "Was the database migrated by a newer Waggle?" in run.stderr
    assert await connection.fetchval("SELECT version_num FROM waggle.alembic_version") == "9999"
    await connection.close()
