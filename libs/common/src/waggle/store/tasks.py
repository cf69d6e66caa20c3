"""Tasks in Postgres: insert, claim, settle, cancel, read. Each function is one statement; the caller owns the transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from waggle import errors
from waggle.errors import ErrorCode, TaskError
from waggle.store.client import Connection
from waggle.store.sql import statement
from waggle.task import AttemptOutcome, Claimed, Fence, Priority, Status, Step, Task
from waggle.telemetry import traces

SHOWN_DETAILS_BYTES: Final = 4 << 10  # of an attempt's error; the task's own error, that of its last attempt, is shown whole
CANCELLED = TaskError(ErrorCode.TASK_CANCELLED, "cancelled on request", retryable=False)


class NewTask(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task to insert. Its fields are the parameters of insert.sql (each an array) and insert_one.sql.

    `payload` and `metadata` are JSON text; `run_at` wins over `delay` (seconds from the database's now).
    """

    id: UUID
    type: str
    queue: str
    priority: int
    description: str = ""
    payload: str
    metadata: str = "{}"
    run_at: datetime | None = None
    delay: float = 0.0
    deadline: datetime | None = None
    max_retries: int
    timeout: float
    unique_key: str | None = None
    submitter: str | None = None
    door: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    callback_url: str | None = None


class Inserted(NamedTuple):
    """What the database decided about an inserted task."""

    id: UUID
    created: datetime
    run_at: datetime
    rung_at: datetime | None


class Cancelled(NamedTuple):
    """A cancelled task, and the worker that ran it, if any."""

    id: UUID
    was: Status
    attempt: int
    worker_id: str | None


class PassedOver(NamedTuple):
    """A claimable task that a claim passed over; `last_try`: one more loss would be its last. `started_at` is the start of its try before."""

    id: UUID
    type: str
    lost_count: int
    last_try: bool
    started_at: datetime


async def insert(connection: Connection, tasks: Sequence[NewTask], *, ring: bool) -> list[Inserted]:
    """Insert; those that are there already, or whose unique key is taken, are not returned.

    With `ring`, the caller rings those that are returned with a `rung_at`, after the commit.
    """
    if len(tasks) == 1:
        rows = await statement("tasks/insert_one").fetch(connection, ring=ring, **msgspec.structs.asdict(tasks[0]))
    else:
        columns = zip(*map(msgspec.structs.astuple, tasks), strict=True)
        values = dict(zip(NewTask.__struct_fields__, map(list, columns), strict=True))
        rows = await statement("tasks/insert").fetch(connection, ring=ring, **values)
    return [Inserted(*row) for row in rows]


async def claim(
    connection: Connection, ids: Sequence[UUID], worker_id: str, *, lost: Sequence[UUID] | None = None, harmless: Sequence[str] = ()
) -> list[Claimed]:
    """Start what is claimable of these, if the worker's lease is live. Without an answer nothing may be started. See `payload` for those that are large.

    Tasks that were lost before start only if they are among `lost` (None: any), or of a `harmless` type.
    """
    rows = await statement("tasks/claim").fetch(connection, ids=ids, worker_id=worker_id, lost=ids if lost is None else lost, harmless=harmless)
    return [Claimed(*row) for row in rows]


async def payload(connection: Connection, fence: Fence) -> str | None:
    """The payload that a claim left behind, as JSON text; None when the attempt no longer holds its task."""
    found: str | None = await statement("tasks/payload").fetchval(
        connection, id=fence.id, attempt=fence.attempt, worker_id=fence.worker_id, started_at=fence.started_at
    )
    return found


async def still_claimable(connection: Connection, ids: Sequence[UUID]) -> list[PassedOver]:
    """Which of the tasks that a claim passed over are claimable after all."""
    return [PassedOver(*row) for row in await statement("tasks/still_claimable").fetch(connection, ids=ids)]


async def put_off(connection: Connection, delays: Mapping[UUID, float]) -> set[UUID]:
    """Let tasks that were lost before wait, each for its seconds, unclaimed; returns those that do."""
    rows = await statement("tasks/put_off").fetch(connection, ids=list(delays), delays=list(delays.values()))
    return {row["id"] for row in rows}


async def settle(connection: Connection, steps: Sequence[tuple[Fence, Step]]) -> set[tuple[UUID, int]]:
    """Move running tasks on; returns the (id, attempt) of those that still held their task. An answer that got lost is no answer: repeat."""
    # asyncpg inspects every element of every array: what most outcomes have in common is sent once, and rare values come first.
    worker_id = steps[0][0].worker_id
    done: list[tuple[Fence, Step]] = []
    special: list[tuple[Fence, Step]] = []
    for item in steps:
        (done if item[1].status is Status.COMPLETED and item[0].worker_id == worker_id else special).append(item)
    ordered = special + done
    kinds = {(worker_id, Status.COMPLETED, AttemptOutcome.COMPLETED, False, False): 1}
    places = [kinds.setdefault((fence.worker_id, step.status, step.ended, step.counted, step.lost), len(kinds) + 1) for fence, step in special]
    worker_ids, statuses, ended, counted, lost = zip(*kinds, strict=True)
    rows = await statement("tasks/settle").fetch(
        connection,
        ids=[fence.id for fence, _ in ordered],
        attempts=[fence.attempt for fence, _ in ordered],
        started_ats=[fence.started_at for fence, _ in ordered],
        kinds=places,
        usual=1,
        results=[step.result for _, step in ordered],
        delays=[step.delay for _, step in special],
        errors=[None if step.error is None else as_text(step.error) for _, step in special],
        logs=[step.logs for _, step in ordered] if any(step.logs is not None for _, step in ordered) else [],
        emitted=[step.emitted for _, step in ordered] if any(step.emitted is not None for _, step in ordered) else [],
        worker_ids=worker_ids,
        statuses=statuses,
        ended=ended,
        counted=counted,
        lost=lost,
    )
    return {(row[0], row[1]) for row in rows}


async def cancel(connection: Connection, task_id: UUID, by: str | None = None) -> Cancelled | None:
    """Cancel a task that has not ended; None if there is no such task. `by` is who asked for it."""
    row = await statement("tasks/cancel").fetchrow(connection, id=task_id, error=as_text(cancelled_by(by)))
    return None if row is None else Cancelled(row["id"], Status(row["was"]), row["attempt"], row["worker_id"])


async def get(connection: Connection, task_id: UUID) -> Task | None:
    """One task, with its payload."""
    row = await statement("tasks/get").fetchrow(connection, id=task_id)
    return None if row is None else as_task(row)


async def get_many(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Task]:
    """Tasks by their ids, without payloads; what is not there is left out."""
    return {row["id"]: as_task(row) for row in await statement("tasks/get_many").fetch(connection, ids=ids)}


async def delete(connection: Connection, task_id: UUID) -> bool:
    """Delete a finished task with its attempts; False if there is no such task."""
    return await statement("tasks/delete").fetchval(connection, id=task_id) is not None


async def attempts(connection: Connection, task_id: UUID, after: int = 0, most: int | None = None) -> list[asyncpg.Record]:
    """A task's ended attempts after one: attempt, worker_id, started_at, ended_at, outcome, error (JSON text), has_logs. `most` of them, None for all."""
    return await statement("attempts/list").fetch(connection, id=task_id, after=after, most=most, details=SHOWN_DETAILS_BYTES)


async def emitted(connection: Connection, task_id: UUID) -> list[str]:
    """The last values that each ended attempt emitted, as JSON arrays, the first attempt first."""
    return [row["emitted"] for row in await statement("attempts/emitted").fetch(connection, id=task_id)]


async def at_rest(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Which of these have ended or are dead letters."""
    return [row["id"] for row in await statement("tasks/at_rest").fetch(connection, ids=ids)]


def cancelled_by(name: str | None) -> TaskError:
    """The error of a task that somebody cancelled."""
    return CANCELLED if name is None else msgspec.structs.replace(CANCELLED, details={"by": name})


def as_text(error: TaskError) -> str:
    return msgspec.json.encode(error).decode()


def as_task(row: asyncpg.Record) -> Task:
    """A row as the API shows it; listings have no payload column."""
    error, result, payload = row["error"], row["result"], row.get("payload")
    return Task(
        id=row["id"],
        type=row["type"],
        status=Status(row["status"]),
        priority=Priority(row["priority"]),
        description=row["description"],
        created=row["created"],
        updated=row["updated"],
        retry_count=row["retry_count"],
        max_retries=row["max_retries"],
        metadata=msgspec.Raw(row["metadata"]),
        queue=row["queue"],
        run_at=row["run_at"],
        attempt=row["attempt"],
        timeout=row["timeout"],
        completed_at=row["completed_at"],
        deadline=row["deadline"],
        error=None if error is None else errors.stored(error).shown(),
        result=None if result is None else msgspec.Raw(result),
        payload=None if payload is None else msgspec.Raw(payload),
        started_at=row["started_at"],
        worker_id=row["worker_id"],
        unique_key=row["unique_key"],
        lost_count=row["lost_count"],
        trace_id=traces.trace_id(row.get("traceparent")),
        callback_url=row.get("callback_url"),
    )
