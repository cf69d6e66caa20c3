"""Rows that somebody wrote by SQL before constraints refused them: they stall nobody else. Services live, lists answer, the audit names and corrects them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.system import System, client_of
from support.unchecked import unchecked
from waggle.audit.rounds import audit
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer

Pool = asyncpg.Pool
OTHERS = 50
KINDS = 66

# What is done to a waiting task, in SQL. The constraints of the tables take all of these.
PENDING = [
    "queue = 'mail '", "queue = ''", "queue = 'a.b'", "queue = '*'", "queue = '>'", "queue = repeat('q', 300)", "queue = E'new\\nline'", "queue = 'Ümlaut'",
    "type = ''", "type = 'mail '", "type = repeat('t', 300)", "type = E'a\\tb'",
    "run_at = '-infinity'", "run_at = 'infinity'", "run_at = '4713-01-01 BC'", "run_at = '20000-01-01'", "created = '20000-01-01'", "created = 'infinity'",
    "created = '-infinity'", "created = '4713-01-01 BC'", "updated = '20000-01-01'", "updated = '-infinity'", "deadline = '20000-01-01'",
    "deadline = 'infinity'",
    "deadline = '-infinity'", "rung_at = '20000-01-01'", "rung_at = 'infinity'", "rung_at = '-infinity'", "rung_at = '4713-01-01 BC'",
    "started_at = '20000-01-01'", "started_at = 'infinity'", "completed_at = '20000-01-01'", "completed_at = now()",
    "timeout = 'NaN'", "timeout = 'Infinity'", "timeout = 1e300", "timeout = 1e-300",
    "attempt = 2147483647", "attempt = -1", "attempt = -2147483648", "retry_count = 2147483647", "retry_count = -1", "retry_count = -2147483648",
    "max_retries = 2147483647", "lost_count = 2147483647", "lost_count = -1", "lost_count = 1, retry_count = 99",
    "payload = '[]'", "payload = '1'", "payload = 'null'", "payload = '\"text\"'",
    "payload = ('{\"a\":' || repeat('[', 5000) || repeat(']', 5000) || '}')::json",
    "metadata = '[]'", "metadata = 'null'", "error = '{}'", "error = '[]'", "error = '\"text\"'", "error = '{\"code\": 5}'", "result = '1'",
    "worker_id = ''", "worker_id = 'nobody'", "description = repeat('d', 2000000)", "unique_key = repeat('k', 2000)", "unique_key = ''",
    "traceparent = 'x'", "traceparent = repeat('x', 100000)", "submitted_by = repeat('x', 100000)",
]  # fmt: skip

# What is done to a task that runs under no worker.
RUNNING = [
    "started_at = NULL", "worker_id = NULL", "started_at = NULL, worker_id = NULL", "attempt = 0", "attempt = 2147483647", "started_at = 'infinity'",
    "started_at = '20000-01-01'", "started_at = '-infinity'", "worker_id = ''", "worker_id = repeat('w', 5000)", "retry_count = 2147483647",
    "lost_count = 2147483647", "max_retries = 2147483647", "deadline = '-infinity'",
]  # fmt: skip

# Whole rows of other tables.
ROWS = [
    "INSERT INTO waggle.queues (name) VALUES ('mail ')",
    "INSERT INTO waggle.queues (name) VALUES (repeat('q', 300))",
    "INSERT INTO waggle.task_types (name, queue, max_retries, timeout, dead_letter, schema) VALUES ('odd one', 'a.b', 3, 'NaN', true, '[]')",
    "INSERT INTO waggle.workers (id, host, pid, version, lease, concurrency, queues, types) VALUES ('odd', '', 0, '', '170000000 years', 0, '{}', '{}')",
    "INSERT INTO waggle.workers (id, host, pid, version, lease, concurrency, queues, types) VALUES ('', '', -1, '', '-1 day', -5, '{NULL}', '{NULL}')",
    "INSERT INTO waggle.idempotency_keys (submitter, key, body_hash, task_ids, created) VALUES ('', 'odd', '', '{}', '20000-01-01')",
]


async def odd_rows(pool: Pool) -> tuple[int, list[str]]:
    """Write one row of each kind; how many, and what Postgres refused."""
    refused, written = [], 0
    for status, kinds in (("pending", PENDING), ("running", RUNNING)):
        for kind in kinds:
            [task_id] = await given.waiting(pool, ring=False, type="test.work", run_at=None)
            try:
                if status == "running":
                    await given.change(pool, task_id, "status = 'running', attempt = 1, worker_id = 'gone', started_at = now()")
                await given.change(pool, task_id, kind)
                written += 1
            except asyncpg.PostgresError as error:
                await pool.execute("DELETE FROM waggle.tasks WHERE id = $1", task_id)
                refused.append(f"{status}: {kind[:60]}: {error}")
    for row in ROWS:
        try:
            await pool.execute(row)
            written += 1
        except asyncpg.PostgresError as error:
            refused.append(f"{row[:80]}: {error}")
    for deadline in ("NULL", "now()"):  # running rows whose attempt is recorded already
        [task_id] = await given.waiting(pool, ring=False, type="test.work", run_at=None)
        await pool.execute("INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome) VALUES ($1, 1, 'w', now(), 'failed')", task_id)
        await given.change(pool, task_id, f"status = 'running', attempt = 1, worker_id = 'gone', started_at = now(), deadline = {deadline}")
        written += 1
    return written, refused


async def done(pool: Pool, ids: Sequence[object]) -> bool:
    return bool(await pool.fetchval("SELECT count(*) = $2 FROM waggle.tasks WHERE id = ANY ($1) AND status = 'completed'", ids, len(ids)))


async def test_they_stall_nobody_else(pool: Pool, bus: Bus, system: System, settings: FleetSettings) -> None:
    async with unchecked(pool):
        written, refused = await odd_rows(pool)
        unfenced = await given.waiting(pool, 120, ring=False, type="demo.echo")
        await given.change(pool, unfenced, "status = 'running', attempt = 1, worker_id = 'gone', started_at = NULL")
    assert refused == []
    waiting = await pool.fetch("SELECT id FROM waggle.tasks WHERE status = 'pending'")
    await Ringer(bus).ring([(row["id"], "default", 1, datetime.now(UTC)) for row in waiting])  # a doorbell may lead to any row
    async with client_of(system.api) as client:
        submitted = [(await client.submit(type="demo.echo"))["id"] for _ in range(OTHERS)]
        await until(lambda: done(pool, submitted), 20.0, "tasks that are submitted")
        due = await given.waiting(pool, OTHERS, ring=False, type="demo.echo")
        await until(lambda: done(pool, due), 20.0, "tasks that become due")
        await given.alive(pool, "gone-for-good")
        lost = await given.running(pool, OTHERS, worker_id="gone-for-good", type="demo.echo")
        await pool.execute("DELETE FROM waggle.workers WHERE id = 'gone-for-good'")
        await until(lambda: done(pool, [task.id for task in lost]), 30.0, "tasks that were lost")
        for page in ("/api/tasks", "/api/tasks?limit=200", "/api/queues", "/api/workers", "/api/types", "/api/dlq", "/api/queues/default/stats"):
            answer = await client.get(page)
            assert answer.status_code == 200, (page, answer.text)
    assert all(service.alive for service in (system.api, system.worker, system.dlq, system.scheduler))
    seen = (await audit(settings, wait=0.0)).seen
    assert seen.found["row"].count >= len(unfenced)
    report = await audit(settings, wait=10.0, repair=True)
    assert {name: report.seen.found[name].count for name in ("row", "timeline", "lost")} == {"row": 0, "timeline": 0, "lost": 0}
    await until(lambda: done(pool, unfenced), 30.0, "tasks whose rows were corrected")
    assert written >= KINDS
