"""What handlers have logged through `ctx.log`: that of ended attempts is in Postgres, that of a running one is asked of its worker."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from waggle.bus import subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.store import explanations
from waggle.store.client import PooledConnection
from waggle.task import Task
from waggle_api.explain.timeline import AttemptPlace

ASK_SECONDS: Final = 1.0
ATTEMPTS_AT_ONCE: Final = 50  # of which lines are read for one page


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line that the handler of an attempt logged; `number` counts the lines of its attempt from 0."""

    attempt: int
    number: int
    at: datetime
    level: str
    event: str
    fields: dict[str, Any] | None = None


class _Kept(msgspec.Struct):
    """A line as a worker keeps it."""

    at: datetime
    level: str
    event: str
    fields: dict[str, Any] | None = None


async def page(
    connection: PooledConnection, bus: Bus, task: Task, attempt: int | None, start: AttemptPlace, limit: int
) -> tuple[list[LogLine], AttemptPlace | None]:
    """Up to `limit` lines of a task's attempts, or of one, from `start` on, in their order; and where the next page starts, None for the last.

    Those of a running attempt are left out if its worker does not answer.
    """
    rows = await explanations.logs(connection, task.id, start.attempt, ATTEMPTS_AT_ONCE, attempt)
    lines = [line for row in rows for line in _read(row["attempt"], row["logs"])]
    is_rest = len(rows) < ATTEMPTS_AT_ONCE
    if is_rest and task.worker_id is not None and task.status == "running" and attempt in (None, task.attempt) and task.attempt >= start.attempt:
        lines += await _ask(bus, task.id, task.attempt, task.worker_id)
    lines = [line for line in lines if (line.attempt, line.number) >= start]
    if len(lines) > limit:
        return lines[:limit], AttemptPlace(lines[limit].attempt, lines[limit].number)
    return lines, None if is_rest else AttemptPlace(rows[-1]["attempt"] + 1)


async def _ask(bus: Bus, task_id: UUID, attempt: int, worker_id: str) -> Sequence[LogLine]:
    try:
        answer = await bus.request(subjects.logs(worker_id), subjects.logs_request(task_id, attempt), ASK_SECONDS)
    except NATS_OUTAGE:  # it has just gone, or is busy
        return []
    return _read(attempt, answer.data)


def _read(attempt: int, text: str | bytes) -> list[LogLine]:
    try:
        kept = msgspec.json.decode(text, type=list[_Kept])
    except (msgspec.DecodeError, RecursionError):  # written by SQL
        return []
    return [LogLine(attempt=attempt, number=number, **msgspec.structs.asdict(line)) for number, line in enumerate(kept)]
