"""Every hot statement finds its rows by an index of its own, whatever the planner knows of the table and however the statement was prepared.

A partial index on the status instead of the primary key made claims fifty times slower; a plan that was made on an empty table and kept (a
prepared statement's generic plan) made a claim read the whole table. The plans are those of real calls, told by auto_explain.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from support import given
from support.servers import PostgresServer, run
from waggle.redrive import DeadLetterFilter
from waggle.settings.services import DirectSettings
from waggle.store import catalogue, cleanups, dead_letters, idempotency, leases, lists, queues, redrives, tasks, waiting
from waggle.store.idempotency import Key
from waggle.store.lists import Filters
from waggle.store.postgres import connect
from waggle.store.sql import names, statement
from waggle.task import AttemptOutcome, Fence, Status, Step

NAMES = {statement(name).text("waggle"): name for name in names()}
DONE = Step(Status.COMPLETED, AttemptOutcome.COMPLETED)
SCANS = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan")

PRIMARY = {"tasks_pkey"}
HOT = {
    "tasks/claim": PRIMARY,
    "tasks/settle": PRIMARY,
    "tasks/payload": PRIMARY,
    "tasks/still_claimable": PRIMARY,
    "tasks/put_off": PRIMARY,
    "leases/died_of": PRIMARY,
    "leases/uncharge": PRIMARY,
    "cleanups/claim": PRIMARY,
    "tasks/at_rest": PRIMARY,
    "tasks/cancel": PRIMARY,
    "tasks/get": PRIMARY,
    "tasks/get_many": PRIMARY,
    "tasks/ring_due": {"tasks_due", "tasks_pkey"},
    "tasks/next_due": {"tasks_due"},
    "tasks/waiting_lanes": {"tasks_rung"},
    "tasks/has_orphans": {"tasks_rung"},
    "tasks/ring_orphans": {"tasks_rung", "tasks_pkey"},
    "tasks/lock_lost": {"tasks_running"},
    "leases/without_live": {"tasks_running"},
    "tasks/running_under": {"tasks_running"},
    "leases/delete_expired": {"tasks_running"},
    "tasks/fail_overdue": {"tasks_deadline", "tasks_pkey"},
    "dead_letters/remove_expired": {"tasks_dead", "tasks_pkey"},
    "dead_letters/remove_excess": {"tasks_dead", "tasks_pkey"},
    "dead_letters/size": {"tasks_dead", "tasks_ended_badly"},
    "dead_letters/list": {"tasks_dead"},
    "dead_letters/groups": {"tasks_dead", "tasks_ended_badly", "tasks_pkey"},
    "dead_letters/count": {"tasks_dead", "tasks_ended_badly"},
    "dead_letters/get": PRIMARY,
    "dead_letters/add_fingerprints": {"tasks_dead", "tasks_pkey"},
    "dead_letters/lock_retryable": {"tasks_dead", "tasks_unique"},
    "redrives/lock_batch": {"tasks_dead"},
    "redrives/note_outcomes": PRIMARY,
    "dead_letters/retry": {"tasks_pkey", "tasks_unique"},
    "dead_letters/remove": PRIMARY,
    "dead_letters/delete_expired_retries": PRIMARY,
    "tasks/unique_holders": {"tasks_unique"},
    "tasks/delete_expired": PRIMARY,
    "tasks/delete_expired_failed": {"tasks_ended_badly", "tasks_pkey"},
    "tasks/delete": PRIMARY,
    "queues/waiting": {"tasks_rung", "tasks_due"},
    "tasks/cancel_waiting": PRIMARY,
    "queues/stats": {"tasks_rung", "tasks_due", "tasks_pkey"},
    "keys/delete_expired": PRIMARY,
    "lists/page": PRIMARY,
    "lists/walk": {"tasks_pkey", "tasks_dead", "tasks_ended_badly"},  # the latter two for dead letters
    "lists/kinds": {"tasks_final"},
    "lists/final": {"tasks_final"},
    "lists/unfinished": {"tasks_rung", "tasks_due", "tasks_running"},
}


@dataclass(frozen=True)
class Scan:
    """One look at a table in a plan. `by_key` when it looks rows up, and does not walk the index from one end to the other."""

    kind: str
    table: str
    index: str
    by_key: bool


Plans = dict[str, list[list[Scan]]]


class Listener:
    """Collects the plans that auto_explain tells of a connection's statements, by the name of the statement."""

    def __init__(self) -> None:
        self.plans: Plans = defaultdict(list)

    async def listen(self, connection: "asyncpg.Connection[asyncpg.Record]", mode: str) -> None:
        await connection.execute("LOAD 'auto_explain'")
        await connection.execute("SET auto_explain.log_min_duration = 0")
        await connection.execute("SET auto_explain.log_format = json")
        await connection.execute("SET client_min_messages = log")
        await connection.execute(f"SET plan_cache_mode = {mode}")
        connection.add_log_listener(self._take)

    def _take(self, _: object, message: Any) -> None:
        if not message.message.startswith("duration"):
            return
        told = json.loads(message.message.partition("plan:")[2])
        name = NAMES.get(told["Query Text"])
        if name is not None:
            self.plans[name].append(list(_scans(told["Plan"], "")))


def _scans(plan: dict[str, Any], table: str) -> Iterator[Scan]:
    table = plan.get("Relation Name", table)
    if plan["Node Type"] in SCANS:
        yield Scan(plan["Node Type"], table, plan.get("Index Name", ""), "Index Cond" in plan)
    for child in plan.get("Plans", []):
        yield from _scans(child, table)


async def use_every_statement(connection: "asyncpg.Connection[asyncpg.Record]", ids: list[UUID], batch: int) -> None:
    """Call the product's functions, with ids that may or may not be there."""
    now = await waiting.now(connection)
    some = ids[:batch]
    await tasks.claim(connection, some, "w1")
    await tasks.still_claimable(connection, some)
    await tasks.put_off(connection, dict.fromkeys(some, 1.0))
    running = await connection.fetch("SELECT id, attempt, worker_id, started_at FROM waggle.tasks WHERE status = 'running' LIMIT $1", batch)
    fences = [Fence(*row) for row in running] or [Fence(ids[0], 1, "w1", now)]
    await tasks.payload(connection, fences[0])
    await cleanups.claim(connection, "w1", ["demo.echo"], some, 10)
    await tasks.settle(connection, [(fence, DONE) for fence in fences])
    await tasks.at_rest(connection, some)
    await tasks.cancel(connection, ids[-1])
    await tasks.get(connection, ids[0])
    await tasks.get_many(connection, some)
    await waiting.mark_due(connection, 1000)
    await waiting.next_due(connection)
    await waiting.lanes(connection)
    await waiting.has_orphans(connection, ("default", 1), now)
    await waiting.mark_orphans(connection, ("default", 1), now, 5000)
    await leases.standing(connection)
    await leases.without_live(connection)
    await leases.lock_lost(connection, ["w1", "w2"], 100)
    await leases.died_of(connection, fences, "w1")
    await leases.uncharge(connection, fences, "w1", [])
    await leases.holdings(connection, "w1", 10.0)
    await leases.renew(connection, "w1", running=1, draining=False)
    await leases.delete_expired(connection, 3600.0)
    await waiting.fail_overdue(connection, 1000)
    await dead_letters.remove_expired(connection, 3600.0, 1000)
    await dead_letters.remove_excess(connection, 100, 1000)
    await waiting.delete_expired(connection, Status.COMPLETED, UUID(int=0), 3600.0, 2000)
    await waiting.delete_expired(connection, Status.FAILED, UUID(int=0), 3600.0, 2000)
    await tasks.delete(connection, ids[1])
    await queues.waiting(connection, "default", now, 1000)
    await queues.waiting(connection, "default", now, 1000, priority=1, kind="demo.fail")
    await queues.cancel_waiting(connection, ids[-3:-1])
    await queues.stats(connection, "default", 3600.0)
    await use_the_dead_letter_queue(connection, some, now)
    keys = [Key("submitter", f"key {n}", b"hash", (ids[n],)) for n in range(3)]
    await idempotency.take(connection, keys)
    await idempotency.find(connection, keys)
    await idempotency.point(connection, keys)
    await idempotency.unique_holders(connection, [("demo.echo", "x"), ("demo.echo", "y")])
    await waiting.delete_expired_keys(connection, 3600.0, 2000)
    await lists.page(connection, Filters(), ids[-1], 50)  # type: ignore[arg-type]  # as good as one of a pool
    await lists.page(connection, Filters(statuses=["pending", "running"]), None, 50)  # type: ignore[arg-type]
    await lists.page(connection, Filters(types=["demo.echo"], queue="default"), None, 50)  # type: ignore[arg-type]
    await catalogue.depths(connection)


async def use_the_dead_letter_queue(connection: "asyncpg.Connection[asyncpg.Record]", some: list[UUID], now: datetime) -> None:
    await waiting.dead_letters(connection)
    await dead_letters.page(connection, DeadLetterFilter(), None, 50)
    await dead_letters.page(connection, DeadLetterFilter(type=["demo.echo"], text="x", older_than=1.0, fingerprint="0" * 16), (now, some[0]), 50)
    await dead_letters.groups(connection, DeadLetterFilter(), 50)
    await dead_letters.get(connection, some[0])
    await dead_letters.lock_retryable(connection, retries=3, backoff=1.0, since=now - timedelta(days=1), most=100)
    await dead_letters.add_fingerprints(connection, (now - timedelta(days=1), UUID(int=0)), 1000)
    redrive_id = uuid4()
    await redrives.begin(connection, redrive_id, DeadLetterFilter(text="x"), rate=100.0, limit=None, submitted_by="x")
    async with connection.transaction():
        due = await redrives.lock_due(connection)
        assert due is not None
        await redrives.note_outcomes(connection, due.id)
        await redrives.retry_batch(connection, due, 100)
    await connection.execute("DELETE FROM waggle.redrives")
    await dead_letters.retry(connection, some, how="manual")
    await dead_letters.remove(connection, some[0])
    await dead_letters.delete_expired_retries(connection, UUID(int=0), 1000)


async def a_few_of_each(connection: "asyncpg.Connection[asyncpg.Record]") -> list[UUID]:
    """Tasks of every kind that a statement looks for, beside two thousand that wait; gives the ids of these."""
    ids = await given.waiting(connection, 2000)
    others = await given.waiting(connection, 100)
    await given.change(connection, others[:20], "rung_at = NULL")
    await given.change(connection, others[20:40], "deadline = now()")
    await given.change(connection, others[40:60], "status = 'dead_letter'")
    await tasks.claim(connection, others[60:], "w1")
    return ids


async def bloat(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Twenty thousand tasks that ran and ended, with all their dead rows, and nobody cleans up."""
    await connection.execute(
        "INSERT INTO waggle.tasks (id, type, rung_at) SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'demo.echo', now() FROM generate_series(1, 20000) n"
    )
    await connection.execute("UPDATE waggle.tasks SET status = 'running', worker_id = 'w0', attempt = 1, started_at = now()")
    await connection.execute("UPDATE waggle.tasks SET status = 'completed', completed_at = now()")


async def plans_of(url: str, situation: str, mode: str) -> Plans:
    listener = Listener()
    connection = await connect(DirectSettings(postgres_url=url, nats_url="nats://not.used"), "test")
    try:
        await connection.execute("ALTER TABLE waggle.tasks SET (autovacuum_enabled = off)")
        await connection.execute("ALTER TABLE waggle.idempotency_keys SET (autovacuum_enabled = off)")
        await given.alive(connection, seconds=3600)
        nothing = [given.new_task().id for _ in range(10)]
        match situation:
            case "fresh":
                ids = await a_few_of_each(connection)
            case "bloated":
                await bloat(connection)
                ids = await a_few_of_each(connection)
            case "bloated, but known as idle":
                await bloat(connection)
                await connection.execute("ANALYZE waggle.tasks")
                ids = await a_few_of_each(connection)
            case "planned while empty":
                await listener.listen(connection, mode)
                await use_every_statement(connection, nothing, 1)
                await bloat(connection)
                ids = await a_few_of_each(connection)
            case "planned while tiny":
                few = await given.running(connection, 15)
                await connection.execute("ANALYZE waggle.tasks")
                await listener.listen(connection, mode)
                await use_every_statement(connection, [task.id for task in few], 1)
                await bloat(connection)
                ids = await a_few_of_each(connection)
        if not listener.plans:
            await listener.listen(connection, mode)
        listener.plans.clear()
        await use_every_statement(connection, ids[:300], 1)
        await use_every_statement(connection, ids[300:], 256)
        return listener.plans
    finally:
        await connection.close()


SITUATIONS = [
    ("fresh", "force_generic_plan"),
    ("fresh", "force_custom_plan"),
    ("bloated", "force_generic_plan"),
    ("bloated", "force_custom_plan"),
    ("bloated, but known as idle", "force_generic_plan"),
    ("bloated, but known as idle", "force_custom_plan"),
    ("planned while empty", "force_generic_plan"),
    ("planned while tiny", "force_generic_plan"),
]


@pytest.fixture(scope="module", params=SITUATIONS, ids=[f"{situation}, {mode}" for situation, mode in SITUATIONS])
def plans(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Plans]:
    situation, mode = request.param
    with postgres.fresh_database() as url:
        yield run(plans_of(url, situation, mode))


@pytest.mark.parametrize("name", HOT)
def test_the_statement_looks_only_into_its_own_indexes(plans: Plans, name: str) -> None:
    assert plans[name], f"{name}.sql was never used"
    for plan in plans[name]:
        looks = [scan for scan in plan if scan.table == "tasks"]
        assert looks
        assert {scan.index for scan in looks} <= HOT[name], plan
        assert any(scan.index in HOT[name] for scan in looks)


@pytest.mark.parametrize("name", [name for name, indexes in HOT.items() if "tasks_pkey" in indexes])
def test_it_looks_rows_up_and_never_walks_the_whole_primary_key(plans: Plans, name: str) -> None:
    for plan in plans[name]:
        assert [scan for scan in plan if scan.index == "tasks_pkey" and not scan.by_key] == [], plan


def test_no_statement_reads_a_large_table_from_one_end_to_the_other(plans: Plans) -> None:
    scanned = {name for name, found in plans.items() for plan in found for scan in plan if scan.kind == "Seq Scan" and scan.table != "workers"}
    assert scanned == set()


@pytest.mark.parametrize("name", ["keys/find", "keys/point"])
def test_idempotency_keys_are_looked_up_by_their_primary_key(plans: Plans, name: str) -> None:
    for plan in plans[name]:
        assert plan == [Scan("Index Scan", "idempotency_keys", "idempotency_keys_pkey", by_key=True)]


@pytest.mark.parametrize("name", ["tasks/claim", "tasks/lock_lost"])
def test_leases_are_looked_up_by_their_primary_key(plans: Plans, name: str) -> None:
    for plan in plans[name]:
        assert {scan.index for scan in plan if scan.table == "workers"} == {"workers_pkey"}


def test_the_figures_of_a_queue_read_only_the_newest_attempts(plans: Plans) -> None:
    for plan in plans["queues/stats"]:
        looks = [scan for scan in plan if scan.table == "task_attempts"]
        assert looks
        assert all(scan.index == "task_attempts_pkey" and scan.by_key for scan in looks), plan


def test_the_heartbeat_touches_one_row_by_its_key(plans: Plans) -> None:
    assert {scan.index for plan in plans["leases/renew"] for scan in plan} == {"workers_pkey"}
