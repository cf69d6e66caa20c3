"""A past for the tables: rows of finished tasks and their attempts, made by the database itself, as a system that ran for days would have them."""

import asyncio
from uuid import UUID

import asyncpg

from stage import FleetSettings

DAYS = 6  # below the retention, which would delete them
CHUNK = 250_000
SCHEDULED = 1_000

# Rows number $1 to $2 of $3, evenly spread over the past days but the last hour: ids ascend with time as those of a live system do. Of a thousand tasks 960
# completed, 25 failed, 13 were cancelled and 2 are dead letters; 70 % are in the queue default, 25 in mail, 5 in reports; twenty types share them
# but for one task in ten thousand, which is of the type shop.rare.
FINISHED = """
WITH numbered AS MATERIALIZED (
    SELECT n, uuidv7(-make_interval(secs => 3600 + $4 * (1 - n / $3::float8))) AS id FROM generate_series($1::bigint, $2::bigint) n
), shaped AS (
    SELECT id, n, uuid_extract_timestamp(id) AS created,
           CASE WHEN n % 1000 < 960 THEN 'completed' WHEN n % 1000 < 985 THEN 'failed' WHEN n % 1000 < 998 THEN 'cancelled' ELSE 'dead_letter' END AS status,
           '{"code": "task_execution_failed", "message": "ConnectionError: the server did not answer", "retryable": true}'::jsonb AS error
    FROM numbered
), made AS (
    INSERT INTO tasks (id, type, queue, priority, status, payload, metadata, created, updated, run_at, rung_at, started_at, completed_at, attempt,
                       worker_id, error, fingerprint, result)
    SELECT id, CASE WHEN n % 10000 = 5000 THEN 'shop.rare' ELSE 'shop.type' || n % 20 END,
           CASE WHEN n % 20 < 14 THEN 'default' WHEN n % 20 < 19 THEN 'mail' ELSE 'reports' END, n % 4, status,
           ('{"to":"user@example.com","subject":"hello","number":' || n || ',"body":"' || repeat('x', 200) || '"}')::json, '{}',
           created, created + interval '30 ms', created, created, created + interval '5 ms',
           CASE WHEN status IN ('completed', 'failed') THEN created + interval '30 ms' END, 1, 'worker-of-the-past',
           CASE WHEN status <> 'completed' THEN error END, CASE WHEN status = 'dead_letter' THEN '5f0c7a6a1be0a3d2' END,
           CASE WHEN status = 'completed' THEN '{"message_id":"0123456789abcdef"}'::json END
    FROM shaped ORDER BY n
    RETURNING id, started_at, updated, status, error
)
INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, error)
SELECT id, 1, 'worker-of-the-past', started_at, updated, CASE WHEN status IN ('completed', 'cancelled') THEN status ELSE 'failed' END, error FROM made
"""
LATER = """
INSERT INTO tasks (id, type, queue, payload, run_at)
SELECT uuidv7(-make_interval(hours => n)), 'shop.type0', 'default', '{}', now() + interval '1 day' FROM generate_series(1, $1::int) n
"""


async def add_finished(settings: FleetSettings, first: int, last: int, total: int) -> None:
    """Rows first to last of `total`, in portions on two connections."""
    portions = [(at, min(at + CHUNK - 1, last)) for at in range(first, last + 1, CHUNK)]

    async def make() -> None:
        connection = await asyncpg.connect(settings.postgres_url)
        await connection.execute("SET synchronous_commit = off; SET work_mem = '256MB'")
        while portions:
            await connection.execute(FINISHED, *portions.pop(0), total, DAYS * 86_400.0)
        await connection.close()

    await asyncio.gather(make(), make())


async def add_scheduled(settings: FleetSettings) -> None:
    """Tasks that wait for tomorrow."""
    connection = await asyncpg.connect(settings.postgres_url)
    await connection.execute(LATER, SCHEDULED)
    await connection.close()


async def forget_after(settings: FleetSettings, start: UUID) -> int:
    """Delete the tasks with ids after `start`; how many."""
    connection = await asyncpg.connect(settings.postgres_url)
    gone = await connection.fetch("DELETE FROM tasks WHERE id > $1 RETURNING 1", start)
    await connection.close()
    await tidy(settings)
    return len(gone)


async def tidy(settings: FleetSettings) -> None:
    """What autovacuum and the checkpointer would do after such a load, done now and not during the measurement."""
    connection = await asyncpg.connect(settings.postgres_url)
    for command in ("SET maintenance_work_mem = '256MB'", "VACUUM (ANALYZE) tasks", "VACUUM (ANALYZE) task_attempts", "CHECKPOINT"):
        await connection.execute(command)
    await connection.close()
