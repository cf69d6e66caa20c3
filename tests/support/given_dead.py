"""The dead letters that a test starts with, made the way a worker makes them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from support import given
from waggle.errors import ErrorCode, TaskError
from waggle.store import tasks
from waggle.store.client import Connection
from waggle.store.dead_letters import Moved
from waggle.task import Failed, Status, Tries, decide


def error_of(message: str = "boom", code: str = "task_execution_failed", exception: str = "RuntimeError", *, retryable: bool = True) -> TaskError:
    return TaskError(ErrorCode(code), message, retryable=retryable, details={"exception": exception})


async def dead(connection: Connection, count: int = 1, *, error: TaskError | None = None, **fields: Any) -> list[UUID]:
    """Dead letters: claimed, then settled with the failure of a handler."""
    worker_id = f"killer-{uuid7()}"
    await given.alive(connection, worker_id)
    claimed = await given.running(connection, count, worker_id, **fields)
    step = decide(Failed(error or error_of()), Tries(0, 0))
    settled = await tasks.settle(connection, [(given.fence(task, worker_id), step) for task in claimed])
    assert len(settled) == count
    await connection.execute("DELETE FROM waggle.workers WHERE id = $1", worker_id)
    return [task.id for task in claimed]


async def many_dead(connection: Connection, count: int, groups: int = 1, **columns: str) -> None:
    """Insert many dead letters directly, in groups by the class of their errors; `columns` are SQL expressions."""
    more = "".join(f", {name}" for name in columns)
    values = "".join(f", {value}" for value in columns.values())
    await connection.execute(
        f"""INSERT INTO waggle.tasks (id, type, status, attempt, retry_count, error, updated{more})
        SELECT gen_random_uuid(), 'demo.echo', 'dead_letter', 1, 3, jsonb_build_object('code', 'task_execution_failed', 'retryable', true,
            'message', 'order ' || n || ' failed', 'details', jsonb_build_object('exception', 'Error' || n % $2, 'traceback', repeat('x', 1000))),
            now() - n * interval '1 ms'{values}
        FROM generate_series(1, $1) n""",
        count,
        groups,
    )
    await connection.execute("UPDATE waggle.tasks SET fingerprint = waggle.fingerprint(type, error) WHERE status = 'dead_letter'")


def ids_of(moved: Iterable[Moved]) -> list[UUID]:
    return [task.id for task in moved]


async def nobody(moved: Iterable[Moved], status: Status) -> None:
    """For tests in which nobody listens to events."""


def as_json(error: TaskError) -> str:
    return msgspec.json.encode(error).decode()
