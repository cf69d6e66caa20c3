"""`waggle audit`: each condition is violated by hand, found, and repaired if a loop would repair it; a busy system has no violations."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from uuid_utils.compat import uuid7

from support import given, stream
from support.command_line import called
from support.facts import until
from support.fleet import FleetSettings
from support.loops import loop
from support.oracle import all_at_rest
from support.servers import NatsServer
from support.system import Client
from support.unchecked import unchecked
from waggle.audit import conditions, rounds
from waggle.audit.conditions import CONDITIONS
from waggle.audit.rounds import AuditReport, CannotAudit, audit
from waggle.bus import stored, subjects, topology
from waggle.bus.connection import Bus
from waggle.bus.pull import Pull
from waggle.errors import ErrorCode, TaskError
from waggle.store import figures, postgres, queues, snapshots, tasks, waiting
from waggle.task import Done, Failed, Tries, decide

Pool = asyncpg.Pool
LONG_AGO = "now() - interval '10 minutes'"
ERROR = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "no", retryable=True)
DONE, DEAD = Done("1"), Failed(ERROR)

MISFITS = (
    ("running", "worker_id = NULL"),
    ("running", "started_at = NULL"),
    ("running", "completed_at = now()"),
    ("running", "retry_count = 2"),
    ("pending", "worker_id = 'w1'"),
    ("pending", "completed_at = now()"),
    ("pending", "result = '1'"),
    ("completed", "completed_at = NULL"),
    ("completed", "worker_id = NULL"),
    ("completed", "error = '{}'"),
    ("dead_letter", "error = NULL"),
    ("dead_letter", "completed_at = now()"),
    ("dead_letter", "retry_count = 4"),
)
DISORDERS = (
    "DELETE FROM waggle.task_attempts WHERE task_id = $1 AND attempt = 2",
    "DELETE FROM waggle.task_attempts WHERE task_id = $1",
    "UPDATE waggle.task_attempts SET attempt = 4 WHERE task_id = $1 AND attempt = 3",
    "UPDATE waggle.tasks SET attempt = 4 WHERE id = $1",
    "UPDATE waggle.tasks SET lost_count = 1 WHERE id = $1",
    "UPDATE waggle.task_attempts SET outcome = 'completed' WHERE task_id = $1 AND attempt = 1",
    "UPDATE waggle.task_attempts SET outcome = 'cancelled' WHERE task_id = $1 AND attempt = 3",
    "WITH a AS (UPDATE waggle.task_attempts SET outcome = 'deadline' WHERE task_id = $1 AND attempt = 1) UPDATE waggle.tasks SET retry_count = 1 WHERE id = $1",
    "UPDATE waggle.task_attempts SET outcome = 'snoozed' WHERE task_id = $1 AND attempt < 3",
    "UPDATE waggle.task_attempts SET ended_at = started_at - interval '1 minute' WHERE task_id = $1 AND attempt = 3",
    "UPDATE waggle.task_attempts SET ended_at = ended_at + interval '1 minute' WHERE task_id = $1 AND attempt = 2",
    "UPDATE waggle.tasks SET status = 'cancelled', error = '{}', result = NULL WHERE id = $1",
    "WITH a AS (UPDATE waggle.task_attempts SET outcome = 'cancelled' WHERE task_id = $1 AND attempt = 3) "
    "UPDATE waggle.tasks SET status = 'failed', error = '{}', result = NULL WHERE id = $1",
    "WITH a AS (UPDATE waggle.task_attempts SET outcome = 'deadline' WHERE task_id = $1 AND attempt = 3) "
    "UPDATE waggle.tasks SET status = 'cancelled', error = '{}', result = NULL WHERE id = $1",
    "WITH a AS (UPDATE waggle.task_attempts SET outcome = 'snoozed' WHERE task_id = $1 AND attempt = 3) "
    "UPDATE waggle.tasks SET status = 'dead_letter', completed_at = NULL, error = '{}', result = NULL WHERE id = $1",
    "DELETE FROM waggle.tasks WHERE id = $1",
)


def broken(report: AuditReport) -> dict[str, int]:
    """The number of violations of each condition that does not hold."""
    return {name: found.count for name, found in report.seen.found.items() if found.count}


async def audited(settings: FleetSettings, wait: float = 0.0, *, repair: bool = False, since: float | None = None) -> dict[str, int]:
    return broken(await audit(settings, wait=wait, repair=repair, since=since))


async def found(settings: FleetSettings, condition: str) -> int:
    return (await audit(settings, wait=0.0)).seen.found[condition].count


async def rung(pool: Pool, bus: Bus, count: int = 1, **fields: object) -> list[UUID]:
    """Tasks that wait with their doorbells in the lane, for ten minutes."""
    ids = await given.waiting(pool, count, **fields)
    await given.change(pool, ids, f"rung_at = {LONG_AGO}, updated = {LONG_AGO}")
    rows = await pool.fetch("SELECT id, queue, priority, rung_at FROM waggle.tasks WHERE id = ANY ($1) ORDER BY id", ids)
    await stream.ring(bus, *[(row["id"], row["queue"], row["priority"], row["rung_at"]) for row in rows])
    return ids


async def settled(pool: Pool, outcome: Done | Failed = DONE, tries: int = 1) -> UUID:
    """A task that ran `tries` times and ended; all but the last try failed."""
    [task_id] = await given.waiting(pool)
    for left in reversed(range(tries)):
        [claimed] = await tasks.claim(pool, [task_id], "w1")
        step = decide(Failed(ERROR, after=0.0) if left else outcome, Tries(claimed.retry_count, claimed.retry_count + left))
        assert await tasks.settle(pool, [(given.fence(claimed), step)])
    return task_id


@asynccontextmanager
async def waited_for(bus: Bus, queue: str = "default", priority: int = 1) -> AsyncIterator[None]:
    """A worker with free slots waits for this lane's doorbells, and never acks one."""
    pull = Pull(bus, queue, priority, lambda: None)
    await pull.open()

    async def keep() -> None:
        while True:
            await pull.top_up(100)
            await asyncio.sleep(0.02)

    async def asked() -> bool:
        return (await bus.jetstream().consumer_info(subjects.WORK_STREAM, subjects.consumer(queue, priority))).num_waiting > 0

    async with loop(keep()):
        await until(asked)
        yield


@pytest.fixture
async def worker(pool: Pool, lanes: None) -> str:
    return await given.alive(pool)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few tasks and doorbells fill several."""
    monkeypatch.setattr(conditions, "PAGE", 2)
    monkeypatch.setattr(stored, "BATCH", 2)


async def test_tasks_of_every_kind_are_in_order(settings: FleetSettings, pool: Pool, bus: Bus, worker: str, small_pages: None) -> None:
    await rung(pool, bus, 3)
    await given.waiting(pool, ring=False, delay=3600.0)
    await given.running(pool, 2)
    await settled(pool)
    await settled(pool, tries=3)
    await settled(pool, DEAD)
    [cancelled] = await given.waiting(pool)
    await tasks.cancel(pool, cancelled)
    report = await audit(settings, wait=0.0)
    assert broken(report) == {}
    assert (report.seen.tasks, report.seen.doorbells, report.seen.notes) == (10, 3, [])


async def test_columns_that_do_not_fit_the_status_are_found(settings: FleetSettings, pool: Pool, worker: str) -> None:
    for number, (status, assignments) in enumerate(MISFITS):
        match status:
            case "pending":
                [task_id] = await given.waiting(pool, ring=False, delay=60.0)
            case "running":
                task_id = (await given.running(pool))[0].id
            case _:
                task_id = await settled(pool, DEAD if status == "dead_letter" else DONE)
        assert await found(settings, "row") == number
        async with unchecked(pool):
            await given.change(pool, task_id, assignments)
        assert await found(settings, "row") == number + 1, f"{status} with {assignments}"


async def test_attempts_that_are_out_of_order_or_do_not_fit_are_found(settings: FleetSettings, pool: Pool, worker: str, small_pages: None) -> None:
    for number, statement in enumerate(DISORDERS):
        task_id = await settled(pool, tries=3)
        assert await audited(settings) == ({"timeline": number} if number else {})
        await pool.execute(statement, task_id)
        assert await audited(settings) == {"timeline": number + 1}, statement


async def test_a_run_that_began_before_the_try_that_came_before_it_ended_is_found(settings: FleetSettings, pool: Pool, worker: str) -> None:
    [first] = await given.running(pool)
    await tasks.settle(pool, [(given.fence(first), decide(Failed(ERROR, after=0.0), Tries(0, 3)))])
    assert await tasks.claim(pool, [first.id], "w1")
    assert await audited(settings) == {}
    await given.change(pool, first.id, "started_at = started_at - interval '1 minute'")
    assert await audited(settings) == {"timeline": 1}


async def test_a_due_task_that_nobody_rang_is_found_and_rung(settings: FleetSettings, pool: Pool, bus: Bus, lanes: None) -> None:
    ids = await given.waiting(pool, 3, ring=False)
    assert await audited(settings) == {}, "a moment ago: the scheduler is about to"
    await given.change(pool, ids, f"run_at = {LONG_AGO}")
    assert await audited(settings) == {"unrung": 3}
    report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["unrung"]) == ({}, 3)
    await until(lambda: holds(bus, 3))


async def holds(bus: Bus, count: int) -> bool:
    return await stream.doorbells(bus) == count


async def test_tasks_whose_doorbells_are_lost_are_found_one_by_one_and_rung(
    settings: FleetSettings, pool: Pool, bus: Bus, lanes: None, small_pages: None
) -> None:
    await rung(pool, bus, 5)
    await rung(pool, bus, 2, priority=3)
    assert await audited(settings) == {}
    await bus.jetstream().delete_msg(subjects.WORK_STREAM, 3)
    report = await audit(settings, wait=0.0)
    assert broken(report) == {"orphan": 1}, "one in the middle of its lane, which the orphan rule cannot see yet"
    await stream.lose_doorbells(bus)
    assert await audited(settings) == {"orphan": 7}
    report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["orphan"]) == ({}, 7)
    assert await holds(bus, 7)


async def test_without_the_stream_every_doorbell_is_lost_and_a_repair_says_that_it_could_do_nothing(settings: FleetSettings, pool: Pool, bus: Bus) -> None:
    ids = await given.waiting(pool, 2)
    await given.change(pool, ids, f"rung_at = {LONG_AGO}")
    report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["orphan"]) == ({"orphan": 2}, 0)
    assert (await given.row(pool, ids[0]))["rung_at"] is not None


async def test_a_stream_of_an_older_version_is_said_to_need_a_migration_which_keeps_what_it_holds(settings: FleetSettings, pool: Pool, bus: Bus) -> None:
    older = topology.work_stream(settings)
    older.allow_direct = False
    await bus.jetstream().add_stream(older)
    await rung(pool, bus, 2)
    with pytest.raises(CannotAudit, match="run `waggle migrate`"):
        await audited(settings)
    await topology.ensure(bus, settings, ["default"])
    report = await audit(settings, wait=0.0)
    assert (broken(report), report.seen.doorbells) == ({}, 2)


async def test_a_paused_queue_and_a_full_lane_are_noted_and_in_order(settings: FleetSettings, pool: Pool, bus: Bus) -> None:
    await topology.ensure(bus, msgspec.structs.replace(settings, lane_limit=2), ["default"])
    await rung(pool, bus, 2)
    await given.change(pool, await given.waiting(pool, 3), f"rung_at = {LONG_AGO}")
    report = await audit(settings, wait=0.0)
    assert broken(report) == {}
    assert report.seen.notes == ["waggle.work.default.medium: the lane is full; 3 due tasks wait for room in it"]
    await queues.pause(pool, "default", paused=True)
    await bus.jetstream().delete_msg(subjects.WORK_STREAM, 1)
    report = await audit(settings, wait=0.0)
    assert (broken(report), report.seen.notes) == ({}, ["waggle.work.default.medium: left out because the queue is paused"])
    await stream.lose_doorbells(bus)
    assert await audited(settings) == {}
    await queues.pause(pool, "default", paused=False)
    assert await audited(settings) == {"orphan": 5}


async def test_what_slows_everything_down_and_what_schedulers_found_is_noted(settings: FleetSettings, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "OLD_SECONDS", 0.0)
    monkeypatch.setattr(figures, "DEAD_LEAST", 0)
    await pool.execute("INSERT INTO waggle.alerts (key, name, severity, summary) VALUES ('a', 'WaggleDoorbellsRefused', 'page', 'The lane is full.')")

    async def counted() -> bool:  # a session tells its counts once a second
        await pool.execute("ANALYZE waggle.tasks")
        return bool(await pool.fetchval("SELECT n_dead_tup >= 3 FROM pg_stat_user_tables WHERE relname = 'tasks'"))

    async with pool.acquire() as holder, holder.transaction(isolation="repeatable_read"):
        await pool.execute("DELETE FROM waggle.tasks WHERE id = ANY($1)", await given.waiting(pool, 3))
        await until(counted)
        session = await holder.fetchval("SELECT pg_backend_pid() FROM (SELECT count(*) FROM waggle.tasks) t")
        report = await audit(settings, wait=0.0)
    assert report.seen.holds
    assert f"session {session} keeps Postgres from removing dead rows: see `waggle doctor`" in report.seen.notes
    assert any(note.startswith("the table tasks has ") and note.endswith(" dead rows beside 0 live ones: see `waggle doctor`") for note in report.seen.notes)
    assert "the alert WaggleDoorbellsRefused fires: The lane is full." in report.seen.notes


async def test_doorbells_that_a_waiting_worker_should_have_acked_are_found_and_removed(settings: FleetSettings, pool: Pool, bus: Bus, worker: str) -> None:
    [cancelled, deleted, fresh, waits] = await rung(pool, bus, 4)
    await tasks.cancel(pool, cancelled)
    await tasks.cancel(pool, deleted)
    await tasks.cancel(pool, fresh)
    await tasks.delete(pool, deleted)
    await given.change(pool, cancelled, f"updated = {LONG_AGO}")
    await bus.jetstream().publish(subjects.work("default", 1), b"not a doorbell")
    report = await audit(settings, wait=0.0)
    assert broken(report) == {}, "all workers are busy, or there is none: it is nobody's fault that they lie there"
    assert report.seen.notes == ["waggle.work.default.medium: 3 doorbells of tasks that have ended stay until a worker has a free slot for this lane"]
    async with waited_for(bus):
        report = await audit(settings, wait=0.0)
        assert set(report.seen.found["stray"].examples) == {str(cancelled), str(deleted)}, "one that ended a moment ago is about to be acked"
        report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["stray"]) == ({}, 2)
    assert await holds(bus, 2), "that of the task that waits, and the fresh one"
    assert await given.row(pool, waits)


async def test_a_doorbell_in_no_lane_is_found_and_removed(settings: FleetSettings, bus: Bus, lanes: None) -> None:
    await bus.jetstream().publish("waggle.work.default.urgent", subjects.doorbell([uuid7()], (await bus.jetstream().stream_info(subjects.WORK_STREAM)).created))
    assert await audited(settings) == {"stray": 1}
    assert await audited(settings, repair=True) == {}
    assert await holds(bus, 0)


async def test_running_tasks_without_a_live_worker_are_found_and_taken_back_once_a_lease_has_passed(
    settings: FleetSettings, pool: Pool, bus: Bus, worker: str
) -> None:
    settings = msgspec.structs.replace(settings, lease=1.0)
    [alive] = await given.running(pool)
    await given.alive(pool, "w2")
    [once] = await given.running(pool, worker_id="w2")
    [last] = await given.running(pool, worker_id="w2", max_retries=0)
    await given.gone(pool, "w2")
    assert await audited(settings) == {"lost": 2}
    report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["lost"]) == ({}, 2)
    assert report.seconds > 1.0, "who was not connected for a lease would not have seen its heartbeat"
    assert [(await given.row(pool, task.id))["status"] for task in (alive, once, last)] == ["running", "pending", "dead_letter"]
    assert report.repaired["unrung"] == 1
    await until(lambda: holds(bus, 1))


async def test_tasks_past_their_deadline_are_found_and_failed(settings: FleetSettings, pool: Pool, worker: str) -> None:
    [waits] = await given.waiting(pool, ring=False, delay=60.0)
    [runs] = await given.running(pool)
    await given.change(pool, [waits, runs.id], f"deadline = {LONG_AGO}")
    assert await audited(settings) == {"overdue": 2}
    report = await audit(settings, wait=0.0, repair=True)
    assert (broken(report), report.repaired["overdue"]) == ({}, 2)


async def test_a_violation_that_lasts_a_moment_is_waited_out(settings: FleetSettings, pool: Pool, bus: Bus, lanes: None) -> None:
    ids = await given.waiting(pool, 3, ring=False)
    await given.change(pool, ids, f"run_at = {LONG_AGO}")

    async def ring_late() -> None:
        await asyncio.sleep(0.5)
        await waiting.mark_due(pool, 10)

    late = asyncio.create_task(ring_late())
    assert await audited(settings, wait=20.0) == {}
    await late


async def test_history_can_be_left_out_beyond_an_age(settings: FleetSettings, pool: Pool, worker: str) -> None:
    old = await settled(pool)
    await pool.execute("UPDATE waggle.tasks SET id = '01000000-0000-7000-8000-000000000000', completed_at = NULL WHERE id = $1", old)
    await pool.execute("UPDATE waggle.task_attempts SET task_id = '01000000-0000-7000-8000-000000000000' WHERE task_id = $1", old)
    await settled(pool)
    assert await audited(settings) == {"row": 1}
    report = await audit(settings, wait=0.0, since=3600.0)
    assert (broken(report), report.seen.tasks) == ({}, 1)


async def test_a_busy_system_is_clean_at_every_moment_and_at_rest(settings: FleetSettings, pool: Pool, client: Client) -> None:
    def load(count: int) -> list[dict[str, object]]:
        kinds: list[dict[str, object]] = [
            {"type": "demo.echo", "payload": {}},
            {"type": "demo.sleep", "payload": {"seconds": 0.05}, "priority": 3},
            {"type": "demo.fail", "payload": {"message": "no"}, "max_retries": 1},
            {"type": "demo.echo", "payload": {}, "priority": 0},
        ]
        return [kinds[number % len(kinds)] for number in range(count)]

    for _ in range(4):
        made = await client.submit_many(load(800))
        await asyncio.gather(*(client.delete(f"/api/tasks/{task['id']}") for task in made[::50]))
        assert await audited(settings) == {}
    await all_at_rest(pool, 60.0)
    report = await audit(settings, wait=30.0)
    assert (broken(report), report.seen.tasks) == ({}, 3200)
    await until(lambda: rested(settings), 30.0)


async def rested(settings: FleetSettings) -> bool:
    return (await audit(settings, wait=0.0)).seen.doorbells == 0


def test_scripts_get_an_exit_code_and_json(
    database: str, nats: NatsServer, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert called(capsys, "audit").code == 2, "nobody said where"
    (folder / ".waggle").mkdir()
    (folder / ".waggle" / "up.json").write_text(json.dumps({"postgres_url": database, "nats_url": nats.url}))
    shown = called(capsys, "audit")
    assert (shown.code, shown.err) == (0, "")
    assert "Everything holds: 0 tasks, 0 doorbells" in shown.out
    asyncio.run(break_something(database))
    shown = called(capsys, "audit", "-o", "json", "--wait", "0")
    report = json.loads(shown.out)
    assert (shown.code, report["holds"], report["tasks"]) == (1, False, 1)
    assert [item["name"] for item in report["conditions"]] == list(CONDITIONS)
    [item] = [item for item in report["conditions"] if not item["holds"]]
    assert (item["name"], item["count"], len(item["examples"]), item["advice"] != "") == ("unrung", 1, 1, True)
    shown = called(capsys, "audit", "--repair", "--wait", "0")
    assert (shown.code, "repaired: 1 rung" in shown.out) == (0, True)
    monkeypatch.setattr(rounds, "NATS_CONNECT_SECONDS", 0.5)
    nats.kill()
    shown = called(capsys, "audit")
    assert (shown.code, "does not answer" in shown.err) == (4, True)
    nats.start()
    monkeypatch.setenv("WAGGLE_POSTGRES_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    shown = called(capsys, "audit")
    assert (shown.code, "secret" in shown.err) == (4, False)


async def break_something(database: str) -> None:
    async with postgres.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 1) as pool:
        await given.waiting(pool, ring=False)
        await pool.execute(f"UPDATE waggle.tasks SET run_at = {LONG_AGO}")
