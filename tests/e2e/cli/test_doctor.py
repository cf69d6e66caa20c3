"""`waggle doctor` on a healthy Waggle, and with real faults: it finds each, says what to do, changes nothing and never hangs."""

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
from aiohttp import web
from nats.aio.msg import Msg

from support import full_disk, given, stream
from support.called import Called
from support.called import called as called_service
from support.command_line import access, called, waggle
from support.examined import Doctor
from support.facts import until
from support.fleet import FleetSettings
from support.processes import kill
from support.servers import NatsServer, PostgresServer, tell_all
from support.standby import standby as hot_standby
from support.unchecked import unchecked
from waggle.bus import storing, subjects, topology
from waggle.bus.connection import Bus
from waggle.settings.services import CommandLineSettings
from waggle.store import alerts, figures
from waggle.store.alerts import Alert
from waggle.store.catalogue import version_of
from waggle.store.postgres import head
from waggle_cli.doctor import telemetry
from waggle_cli.doctor.checks import CHECKS
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Level
from waggle_embedded.binaries import find_postgres

AWAY = {"WAGGLE_POSTGRES_URL": "postgresql://u:hunter2@127.0.0.1:1/d", "WAGGLE_NATS_URL": "nats://127.0.0.1:1"}
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


def test_a_healthy_waggle_has_no_problems(shop: dict[str, Any], tmp_path: Path) -> None:
    there = {"WAGGLE_POSTGRES_URL": shop["postgres_url"], "WAGGLE_NATS_URL": shop["nats_url"], **access(shop)}
    run = waggle("doctor", place=tmp_path, **there)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert run.stdout.rstrip().endswith("No problems found.")
    assert all(line.startswith("✓  ") for line in run.stdout.split("\n\n")[0].splitlines())
    for check in CHECKS:
        assert f"✓  {check.name} " in run.stdout or check.name == "metrics", "whose addresses only a `waggle up` of this folder has"
    assert shop["postgres_url"] not in run.stdout  # it has a password


async def test_the_waggle_up_of_this_folder_is_found(doctor: Doctor, shop: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / ".waggle").mkdir()
    (tmp_path / ".waggle" / "up.json").write_text(json.dumps(shop))
    examined = await doctor()
    assert (examined.code, examined.status) == (0, "ok")
    assert shop["api_url"] in examined.one("api", "ok")
    assert "metrics pages answering, no loop fails" in examined.one("metrics", "ok")
    assert any(str(tmp_path / ".waggle") in item["what"] for item in examined.found["disk"])


async def test_without_a_deployment_the_settings_are_invalid(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = await asyncio.to_thread(called, capsys, "doctor")
    assert (run.code, run.out) == (2, "")
    assert "WAGGLE_POSTGRES_URL is missing\nWAGGLE_NATS_URL is missing\n" in run.err
    assert "waggle up" in run.err


async def test_when_nothing_can_be_reached_the_exit_code_says_so(doctor: Doctor) -> None:
    examined = await doctor(**AWAY)
    assert (examined.code, examined.status) == (4, "error")
    assert examined.one("postgres", "error") == (
        "postgresql://u:***@127.0.0.1:1/d cannot be used: Connect call failed ('127.0.0.1', 1) → "
        "start Postgres, or correct WAGGLE_POSTGRES_URL; until it answers no task is accepted, and no accepted task is lost"
    )
    assert "nats://127.0.0.1:1 cannot be used: Connect call failed" in examined.one("nats", "error")
    assert set(examined.found) == {"postgres", "nats", "api"}


async def test_without_nats_the_rest_is_examined(doctor: Doctor, database: str) -> None:
    examined = await doctor(**{**AWAY, "WAGGLE_POSTGRES_URL": database})
    assert examined.code == 1
    assert "start NATS" in examined.one("nats", "error")
    assert f"the schema is at {head()}" in examined.one("schema", "ok")
    assert examined.one("queues", "ok")
    assert "stream" not in examined.found


async def test_without_postgres_nats_is_examined(doctor: Doctor, nats: NatsServer) -> None:
    examined = await doctor(**{**AWAY, "WAGGLE_NATS_URL": nats.url})
    assert examined.code == 1
    assert "start Postgres" in examined.one("postgres", "error")
    assert "nats-server 2." in examined.one("nats version", "ok")
    assert "the stream WAGGLE_WORK is missing: no task reaches a worker → start a scheduler" in examined.one("stream", "error")
    assert examined.one("breakers", "warning")
    assert "queues" not in examined.found


async def test_a_nats_that_hangs_does_not_block_it(doctor: Doctor, servers: dict[str, str], nats: NatsServer) -> None:
    nats.pause()
    try:
        begun = time.monotonic()
        examined = await doctor(**servers)
        assert time.monotonic() - begun < 40
    finally:
        nats.resume()
    assert "cannot be used: no answer in time" in examined.one("nats", "error")
    assert examined.one("schema", "ok")


async def test_a_wrong_password_is_reported_but_not_shown(doctor: Doctor, servers: dict[str, str]) -> None:
    url = servers["WAGGLE_POSTGRES_URL"]
    wrong = f"{url.partition('://')[0]}://waggle:hunter2@{url.rpartition('@')[2]}"
    assert "correct the user and password in WAGGLE_POSTGRES_URL" in (await doctor(**{**servers, "WAGGLE_POSTGRES_URL": wrong})).one("postgres", "error")


async def test_a_database_that_is_not_migrated_is_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await pool.execute("UPDATE waggle.alembic_version SET version_num = '0000'")
    assert "the schema is at 0000, this Waggle needs" in (await doctor(**servers)).one("schema", "error")
    await pool.execute("UPDATE waggle.alembic_version SET version_num = '9999'")
    assert "upgrade Waggle here" in (await doctor(**servers)).one("schema", "error")
    await pool.execute("DROP SCHEMA waggle CASCADE")
    examined = await doctor(**servers)
    assert examined.one("schema", "error") == "the database has no schema → run `waggle migrate`"
    assert {"workers", "queues", "due tasks", "consumers"}.isdisjoint(examined.found)


async def test_a_damaged_schema_is_named(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await pool.execute("DROP INDEX waggle.tasks_due")
    assert (await doctor(**servers)).one("schema", "error").startswith("index tasks.tasks_due is missing →")


async def test_a_nats_that_stores_nothing_is_named_although_its_stream_looks_healthy(
    doctor: Doctor, servers: dict[str, str], lanes: None, nats: NatsServer, bus: Bus
) -> None:
    full_disk.fill(nats.pid)
    await until(lambda: storing.probe(bus), 20.0, "publishes are not acknowledged")
    examined = await doctor(**servers)
    assert "NATS is connected but stores nothing: no ack within 2 s → make room on the disk of NATS and then restart it" in examined.one("storing", "error")
    assert examined.one("stream", "ok")
    full_disk.make_room(nats.pid)
    assert (await doctor(**servers)).one("storing", "error"), "room alone does not help"


async def test_a_lane_without_its_consumer_is_named(doctor: Doctor, servers: dict[str, str], lanes: None, bus: Bus) -> None:
    assert (await doctor(**servers)).one("consumers", "ok")
    await bus.jetstream().delete_consumer(subjects.WORK_STREAM, "default-high")
    assert "1 of 4 lanes have no consumer: default-high" in (await doctor(**servers)).one("consumers", "error")


async def test_a_consumer_that_somebody_else_made_is_named(doctor: Doctor, servers: dict[str, str], lanes: None, bus: Bus) -> None:
    config = topology.lane_consumer("default", 2)
    await bus.jetstream().add_consumer(subjects.WORK_STREAM, config.evolve(max_ack_pending=5))
    assert "consumers are not configured as Waggle does it: default-high" in (await doctor(**servers)).one("consumers", "warning")


async def test_a_stream_that_differs_from_the_settings_is_reported(doctor: Doctor, servers: dict[str, str], lanes: None) -> None:
    examined = await doctor(**servers, WAGGLE_LANE_LIMIT="7")
    assert "max_msgs_per_subject is 1000000, the settings here say 7" in examined.one("stream", "warning")


async def test_a_lane_that_is_nearly_full_is_named(doctor: Doctor, servers: dict[str, str], bus: Bus, settings: FleetSettings, pool: Pool) -> None:
    await topology.ensure(bus, FleetSettings(**{**settings_of(settings), "lane_limit": 5}), ["default"])
    ids = await given.waiting(pool, 4)
    await stream.ring(bus, *[(task, "default", 1, (await given.row(pool, task))["rung_at"]) for task in ids])
    examined = await doctor(**servers, WAGGLE_LANE_LIMIT="5")
    assert "the lane waggle.work.default.medium is nearly full: 4 of 5 doorbells" in examined.one("stream", "warning")


def settings_of(settings: FleetSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


async def test_a_small_max_payload_is_reported(doctor: Doctor, database: str, folder: Path) -> None:
    small = NatsServer(folder / "small", extra="max_payload: 1048576\n")
    try:
        examined = await doctor(WAGGLE_POSTGRES_URL=database, WAGGLE_NATS_URL=small.url)
    finally:
        small.kill()
    assert "max_payload is 1,024 KiB: large messages are refused → set max_payload: 4MB" in examined.one("nats version", "error")


async def test_a_paused_queue_with_tasks_is_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await given.waiting(pool, 2)
    await pool.execute("UPDATE waggle.queues SET paused = true WHERE name = 'default'")
    examined = await doctor(**servers)
    assert examined.one("queues", "warning") == "queue default is paused; 2 tasks wait in it → waggle queues resume default"


async def test_a_queue_that_no_worker_serves_is_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await pool.execute("INSERT INTO waggle.queues (name) VALUES ('mail')")
    await given.alive(pool)  # serves default
    await given.waiting(pool, 1, queue="mail")
    await given.waiting(pool, 1)
    said = (await doctor(**servers)).one("queues", "error")
    assert said.startswith("1 task waits in queue mail, but no live worker serves it → start a worker with WAGGLE_QUEUES=mail")


async def test_a_queue_whose_name_is_not_valid_is_reported(doctor: Doctor, servers: dict[str, str], lanes: None, pool: Pool) -> None:
    """SQL could insert a task with such a queue before the database refused it. A scheduler sets it aside, so nothing else is said about it."""
    await given.alive(pool)
    async with unchecked(pool):
        tasks = await given.waiting(pool, 2, queue="two words")
    await given.change(pool, tasks, "rung_at = now() - interval '2 minutes'")
    examined = await doctor(**servers)
    said = examined.one("queues", "error")
    assert said.startswith("2 tasks wait in queue 'two words', whose name is not valid → move them by SQL to a queue of at most 32 ")
    assert examined.one("due tasks", "ok")


async def test_a_type_that_no_worker_knows_is_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await given.alive(pool)  # knows demo.echo
    await given.waiting(pool, 3, type="email.send")
    await given.waiting(pool, 1)
    examined = await doctor(**servers)
    assert "3 tasks of types without a handler in any live worker: email.send (queue default) → " in examined.one("types", "error")
    assert examined.one("queues", "ok")


async def test_two_live_versions_of_a_type_are_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    old, new = "{}", '{"type":"object"}'
    for worker, schema in (("old-1", old), ("old-2", old), ("new-1", new)):
        await given.serves_version(pool, worker, schema)
    said = (await doctor(**servers)).one("versions", "warning")
    assert said.startswith(f"demo.echo has 2 live versions: {version_of(new)} on 1 worker, {version_of(old)} on 2 workers → finish the deployment")


async def test_what_a_scheduler_should_have_done_long_ago_is_reported(doctor: Doctor, servers: dict[str, str], lanes: None, pool: Pool, bus: Bus) -> None:
    await given.alive(pool)
    fresh, orphan, rung, unrung, overdue = await given.waiting(pool, 5)
    await given.change(pool, orphan, "rung_at = now() - interval '2 minutes'")
    (running,) = await given.running(pool)
    await given.change(pool, running.id, "worker_id = 'gone', started_at = now() - interval '2 minutes'")
    await given.change(pool, unrung, "rung_at = NULL, run_at = now() - interval '2 minutes'")
    await given.change(pool, overdue, "deadline = now() - interval '2 minutes'")
    await stream.ring(bus, *[(task, "default", 1, (await given.row(pool, task))["rung_at"]) for task in (fresh, rung)])
    examined = await doctor(**servers)
    late, lost = (f"{item['what']} → {item['advice']}" for item in examined.found["due tasks"])
    assert late.startswith("1 task due for up to 12")
    assert late.endswith("s but not rung → start a scheduler, or read its log: it rings due tasks, takes lost ones back, and fails overdue ones")
    assert lost.startswith("tasks without a doorbell wait in 1 lane (default 1) → start a scheduler")
    assert examined.one("deadlines", "error").startswith("1 task past their deadline but not failed → start a scheduler")
    assert examined.one("running tasks", "error").startswith("1 task running under workers that are gone → start a scheduler")


async def test_what_has_just_happened_is_left_to_the_scheduler(doctor: Doctor, servers: dict[str, str], lanes: None, pool: Pool) -> None:
    await given.alive(pool)
    _, unrung, overdue = await given.waiting(pool, 3)  # their doorbells are lost: nobody rang
    (running,) = await given.running(pool)
    await given.change(pool, running.id, "worker_id = 'gone'")
    await given.change(pool, unrung, "rung_at = NULL")
    await given.change(pool, overdue, "deadline = now()")
    examined = await doctor(**servers)
    assert [examined.one(check, "ok") for check in ("due tasks", "deadlines", "running tasks")]


async def test_a_lane_that_is_merely_long_has_lost_nothing(doctor: Doctor, servers: dict[str, str], lanes: None, pool: Pool, bus: Bus) -> None:
    await given.alive(pool)
    for minutes in (3, 2):
        (task,) = await given.waiting(pool)
        await given.change(pool, task, f"rung_at = now() - interval '{minutes} minutes'")
        await stream.ring(bus, (task, "default", 1, (await given.row(pool, task))["rung_at"]))
    assert (await doctor(**servers)).one("due tasks", "ok")


async def test_services_on_another_primary_are_reported(doctor: Doctor, servers: dict[str, str], pool: Pool, bus: Bus) -> None:
    system, timeline = await pool.fetchrow("SELECT system_identifier, 1 FROM pg_control_system()")
    assert (await doctor(**servers)).one("primary", "ok") == "all services work with this primary, timeline 1 → "
    works_with = (system, timeline + 1)

    async def answer(message: Msg) -> None:
        if subjects.read_primary_message(message.data).timeline == 0:
            await bus.publish(subjects.PRIMARY, subjects.primary_message(*works_with))

    await bus.subscribe(subjects.PRIMARY, answer)
    await bus.flush()
    assert (await doctor(**servers)).one("primary", "error") == (
        f"this server was replaced as primary: services work with {system}/2, this is {system}/1 → correct WAGGLE_POSTGRES_URL, and stop this server"
    )
    works_with = (system + 1, timeline)
    assert f"another Postgres system, {system + 1}" in (await doctor(**servers)).one("primary", "error")


async def test_jumps_of_the_databases_clock_are_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    assert (await doctor(**servers)).one("clock jumps", "ok")
    await pool.execute("INSERT INTO waggle.clock_jumps (at, seconds) VALUES (now(), -600), (now() - interval '2 days', 600)")
    found = (await doctor(**servers)).one("clock jumps", "warning")
    assert found.startswith("the database's clock jumped by -600 s at ")


async def test_missing_processes_are_reported(doctor: Doctor, servers: dict[str, str]) -> None:
    examined = await doctor(**servers, WAGGLE_URL="http://127.0.0.1:1")
    missing = [item["what"] for item in examined.found["services"]]
    assert missing == [f"no {name} is connected to Postgres" for name in ("scheduler", "dlq", "api")]
    assert examined.one("workers", "warning").startswith("no worker is alive: no task runs")
    assert examined.one("api", "error").startswith("http://127.0.0.1:1 does not answer: ")


async def test_a_server_that_risks_accepted_tasks_is_reported(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    name = servers["WAGGLE_POSTGRES_URL"].rpartition("/")[2]
    await pool.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    said = [item["what"] for item in (await doctor(**servers)).found["durability"]]
    assert [text.partition(":")[0] for text in said] == ["fsync is off", "full_page_writes is off", "synchronous_commit is off"]  # the tests' servers are fast


@contextmanager
def standby(url: str, folder: Path) -> Iterator[None]:
    """A process that receives the write-ahead log of a server, like a standby called `second`."""
    program = find_postgres(None).folder / "pg_receivewal"
    process = subprocess.Popen([program, "-D", folder, "--synchronous", "-d", f"{url}?application_name=second"])
    try:
        yield
    finally:
        kill(process)


async def test_commits_that_wait_for_a_standby_are_named(doctor: Doctor, own_postgres: PostgresServer, pool: Pool, folder: Path) -> None:
    """The standby is connected, and its machine stands still."""
    with hot_standby(own_postgres, folder / "standby") as other:
        await pool.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        await pool.execute("SELECT pg_reload_conf()")
        await until(lambda: pool.fetchval("SELECT bool_or(sync_state = 'sync') FROM pg_stat_replication"), 10.0)
        tell_all(other.pid, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(pool.execute("CREATE TABLE waits ()"))
            await asyncio.sleep(2.5)  # the time that its commit waits
            found = (await doctor(**{**AWAY, "WAGGLE_POSTGRES_URL": own_postgres.url})).one("standby", "error")
        finally:
            tell_all(other.pid, signal.SIGCONT)
        assert re.search(r"\d+ commits? wait for a synchronous standby \(standby; connected: standby\), the longest for \d+ s → start that standby", found)
        await waiting


async def test_synchronous_and_asynchronous_standbys_differ(doctor: Doctor, own_postgres: PostgresServer, folder: Path) -> None:
    there = {**AWAY, "WAGGLE_POSTGRES_URL": own_postgres.url}
    assert (await doctor(**there)).one("standby", "ok").startswith("no standby")
    connection = await asyncpg.connect(own_postgres.url, command_timeout=30)

    async def synchronous(names: str) -> None:
        await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await connection.execute("SELECT pg_reload_conf()")
        await until(lambda: _is(connection, "current_setting('synchronous_standby_names')", names))

    with standby(own_postgres.url, folder):
        await until(lambda: _is(connection, "(SELECT state FROM pg_stat_replication)", "streaming"), 20)
        assert (await doctor(**there)).one("standby", "warning").startswith("the standby is asynchronous (second) → list it in synchronous_standby_names")
        await synchronous("second")
        await until(lambda: _is(connection, "(SELECT sync_state FROM pg_stat_replication)", "sync"), 20)
        assert (await doctor(**there)).one("standby", "ok").startswith("replicated synchronously (second)")
    await until(lambda: _is(connection, "(SELECT count(*)::text FROM pg_stat_replication)", "0"), 20)
    assert "commits wait for a synchronous standby (second) that is not connected" in (await doctor(**there)).one("standby", "error")
    await synchronous("")
    await connection.close(timeout=30)


async def _is(connection: "asyncpg.Connection[asyncpg.Record]", expression: str, value: str) -> bool:
    return bool(await connection.fetchval(f"SELECT {expression}") == value)


async def test_scrape_addresses_that_do_not_answer_and_loops_that_fail_are_named() -> None:
    async with telemetry_target() as target:
        urls = {"scheduler": [f"{target.url}/metrics"], "worker": ["http://127.0.0.1:1/metrics"]}
        found = await telemetry.scraped(Deployment(CommandLineSettings(postgres_url="x", nats_url="x"), metrics_urls=urls))
    assert [finding.level for finding in found] == [Level.WARNING, Level.WARNING]
    assert found[0].what.startswith("worker http://127.0.0.1:1/metrics does not answer: ")
    assert found[1].what == "1 loop failing: scheduler: due"


@asynccontextmanager
async def telemetry_target() -> AsyncIterator[Called]:
    """A metrics page whose loop `due` fails again and again."""
    async with called_service() as target:

        async def page(_: web.Request) -> web.Response:
            failures = len(target.calls)
            return web.Response(text=f'waggle_loop_failures_total{{loop="due"}} {failures}.0\nwaggle_loop_failures_total{{loop="orphans"}} 7.0\n')

        target.answering = page
        yield target


async def test_dead_rows_and_alerts_that_fire_are_reported(doctor: Doctor, servers: dict[str, str], pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DEAD_LEAST", 10)
    await pool.execute("ALTER TABLE waggle.tasks SET (autovacuum_enabled = off)")
    await given.waiting(pool, 50)
    async with pool.acquire() as connection:
        await connection.execute("DELETE FROM waggle.tasks")
        await connection.fetchval("SELECT pg_stat_force_next_flush()")
    await until(lambda: pool.fetchval("SELECT n_dead_tup > 10 FROM pg_stat_user_tables WHERE schemaname = 'waggle' AND relname = 'tasks'"), 10.0)
    await alerts.raise_all(pool, [Alert("disk:/data", "disk", "page", "The disk of /data has 5% left", {})])
    examined = await doctor(**servers)
    assert "the table tasks has " in examined.one("dead rows", "warning")
    assert "disk fires: The disk of /data has 5% left" in examined.one("alerts", "warning")
