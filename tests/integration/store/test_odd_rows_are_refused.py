"""Rows that services cannot work with are refused; those that were there before are named by the migration and corrected by the audit."""

from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.command_line import waggle
from support.facts import until
from support.fleet import FleetSettings
from support.system import Services
from support.unchecked import unchecked
from waggle.audit.rounds import audit
from waggle.bus.connection import Bus
from waggle.store import definitions, postgres
from waggle.store.migrate import migrate

Pool = asyncpg.Pool

ODD = {
    "queue = 'mail '": "tasks_queue_fits",
    "queue = ''": "tasks_queue_fits",
    "queue = repeat('q', 33)": "tasks_queue_fits",
    "run_at = 'infinity'": "tasks_times_fit",
    "created = '20000-01-01'": "tasks_times_fit",
    "rung_at = '4713-01-01 BC'": "tasks_times_fit",
    "deadline = '-infinity'": "tasks_times_fit",
    "timeout = 'NaN'": "tasks_numbers_fit",
    "timeout = 'Infinity'": "tasks_numbers_fit",
    "attempt = 2147483647": "tasks_numbers_fit",
    "retry_count = -1": "tasks_numbers_fit",
    "lost_count = 2147483647": "tasks_numbers_fit",
    "status = 'running', attempt = 1, worker_id = 'w'": "tasks_running_fit",
    "status = 'running', attempt = 1, started_at = now()": "tasks_running_fit",
    "status = 'running', worker_id = 'w', started_at = now()": "tasks_running_fit",
}


@pytest.mark.parametrize("assignments", ODD)
async def test_a_task_that_does_not_fit_is_refused(pool: Pool, assignments: str) -> None:
    [task] = await given.waiting(pool)
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await given.change(pool, task, assignments)
    assert raised.value.constraint_name == ODD[assignments]


@pytest.mark.parametrize(
    ("row", "constraint"),
    [
        ("INSERT INTO waggle.tasks (id, type, queue) VALUES (gen_random_uuid(), 'demo.echo', 'mail ')", "tasks_queue_fits"),
        ("INSERT INTO waggle.queues (name) VALUES ('mail ')", "queues_name_fit"),
        ("INSERT INTO waggle.task_types (name, queue, max_retries, timeout, schema) VALUES ('a', 'a.b', 3, 1, '{}')", "task_types_queue_fit"),
        ("INSERT INTO waggle.task_types (name, queue, max_retries, timeout, schema) VALUES ('a', 'a', 3, 'NaN', '{}')", "task_types_timeout_fit"),
        ("UPDATE waggle.workers SET lease = '-1 day'", "workers_lease_fit"),
        ("UPDATE waggle.workers SET last_seen = 'infinity'", "workers_times_fit"),
    ],
)
async def test_so_is_a_row_of_another_table(pool: Pool, row: str, constraint: str) -> None:
    await given.alive(pool)
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await pool.execute(row)
    assert raised.value.constraint_name == constraint


async def of_before(pool: Pool, assignments: str) -> list[UUID]:
    """Three tasks with these values, from before the constraints. A migration has validated what it could."""
    ids = await given.waiting(pool, 3, ring=False)
    async with unchecked(pool):
        await given.change(pool, ids, assignments)
    return ids


async def test_a_migration_names_rows_of_before_and_validates_once_they_were_corrected(
    database: str, pool: Pool, bus: Bus, settings: FleetSettings, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = await of_before(pool, "attempt = 2147483647, timeout = 'NaN'")
    await migrate(database)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "tasks_numbers_fit" in said
    assert "waggle audit --repair" in said
    environ = {"WAGGLE_POSTGRES_URL": database, "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
    assert "constraint tasks.tasks_numbers_fit was changed" in waggle("migrate", "--check", place=folder, **environ).stdout
    report = await audit(settings, wait=0.0, repair=True)
    assert report.repaired["row"] == 3
    assert set(report.corrected) == set(ids)
    assert set(report.corrected.values()) == {"attempt: 2147483647 → 0, timeout: NaN → 300"}
    await migrate(database)
    assert capfd.readouterr().err == ""
    connection = await postgres.connect(settings, "test")
    assert definitions.differences(definitions.expected(), await definitions.read(connection)) == []
    await connection.close()


async def test_a_running_row_without_a_fence_waits_again_and_what_was_tried_is_kept(pool: Pool, bus: Bus, settings: FleetSettings) -> None:
    ids = await of_before(pool, "status = 'running', attempt = 2, worker_id = 'gone', retry_count = 1")
    await pool.execute(
        "INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome) SELECT id, 1, 'w', now(), 'failed' FROM waggle.tasks"
    )
    report = await audit(settings, wait=0.0, repair=True)
    assert (report.seen.found["row"].count, report.seen.found["timeline"].count, report.repaired["row"]) == (0, 0, 3)
    for task in ids:
        row = await given.row(pool, task)
        assert (row["status"], row["attempt"], row["retry_count"], row["worker_id"], row["rung_at"] is None) == ("pending", 1, 1, None, False)


async def test_the_scheduler_says_which_rows_are_set_aside(pool: Pool, start: Services) -> None:
    async with unchecked(pool):
        await given.waiting(pool, 5_000, ring=False)
        odd = await given.waiting(pool, 3, ring=False)
        await given.change(pool, odd[0], "timeout = 'NaN'")
        await given.change(pool, odd[1], "attempt = 2147483647")
        await given.change(pool, odd[2], "status = 'running', attempt = 1, worker_id = 'w'")
    scheduler = await start("scheduler")
    [line] = await until(lambda: scheduler.logged("rows set aside, no service can work with them"))
    assert set(line["tasks"]) == {str(task) for task in odd}
    assert line["count"] == 3
    assert {"tasks_numbers_fit", "tasks_running_fit"} <= set(line["constraints"])
