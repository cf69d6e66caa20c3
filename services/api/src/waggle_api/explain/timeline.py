"""The life of a task as a list of events, the first one first, in pages. Pure: made from its row, its attempts and its returns from the dead letter queue."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

import asyncpg
import msgspec

from waggle import errors
from waggle.errors import ShownError
from waggle.task import AttemptOutcome, Status


class TaskMoment(StrEnum):
    """What happened to a task."""

    SUBMITTED = "submitted"
    DUE = "due"
    RUNG = "rung"
    STARTED = "started"
    ENDED = "ended"
    DEAD_LETTER = "dead_letter"
    RETRIED = "retried"
    FAILED = "failed"
    CANCELLED = "cancelled"


ORDER: Final = {event: place for place, event in enumerate(TaskMoment)}  # of events at the same time
MOST_OF_A_STEP: Final = 4  # events: an attempt started, ended, became a dead letter that was retried
SQL: Final = "sql"  # the door of tasks that were inserted by SQL


class TimelineEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An event; a task is completed with its last attempt. `attempt`, `worker_id`, `outcome`, `seconds` and `error` are those of an attempt.

    `by` is who did it, `door` how it came in, `how` a retry came: `manual`, `automatic` or `redrive`. `rung` is the last ring, `due` when it may run
    next; both are left out where an attempt followed.
    """

    at: datetime
    event: TaskMoment
    attempt: int | None = None
    worker_id: str | None = None
    outcome: AttemptOutcome | None = None
    seconds: float | None = None
    error: ShownError | None = None
    by: str | None = None
    door: str | None = None
    how: str | None = None
    has_logs: bool = False


class AttemptPlace(NamedTuple):
    """A place in a list along a task's attempts: an attempt, and how many of its items come before.

    A timeline begins with the submission, as attempt 0, and ends with where the task stands, as the attempt after the last.
    """

    attempt: int = 0
    skipped: int = 0


def attempts_for(limit: int) -> int:
    """How many attempts hold a page of `limit` events and the beginning of the next: each has two events at least."""
    return limit // 2 + MOST_OF_A_STEP


def page(
    task: asyncpg.Record, attempts: Sequence[asyncpg.Record], retries: Sequence[asyncpg.Record], start: AttemptPlace, limit: int, *, is_rest: bool
) -> tuple[list[TimelineEvent], AttemptPlace | None]:
    """Up to `limit` events from `start` on, and where the next page starts; None for the last.

    `task` is a row of `store.explanations.task`; `attempts` and `retries` begin with those of the first step, and `is_rest` says that no more follow.
    """
    found: list[TimelineEvent] = []
    for step, events in _steps(task, attempts, retries, start.attempt, is_rest=is_rest):
        skipped = start.skipped if step == start.attempt else 0
        for place, event in enumerate(events[skipped:], skipped):
            if len(found) == limit:
                return found, AttemptPlace(step, place)
            found.append(event)
    return found, None


def _steps(
    task: asyncpg.Record, attempts: Sequence[asyncpg.Record], retries: Sequence[asyncpg.Record], first: int, *, is_rest: bool
) -> Iterator[tuple[int, list[TimelineEvent]]]:
    returns: dict[int, list[TimelineEvent]] = {}
    for row in retries:
        returns.setdefault(row["attempt"], []).append(TimelineEvent(at=row["retried_at"], event=TaskMoment.RETRIED, by=row["retried_by"], how=row["how"]))
    died = returns.keys() | ({task["attempt"]} if task["status"] == Status.DEAD_LETTER else set())
    ended = {row["attempt"]: row for row in attempts}
    if first == 0:
        yield 0, [TimelineEvent(at=task["created"], event=TaskMoment.SUBMITTED, by=task["submitted_by"], door=task["door"] or SQL), *returns.pop(0, [])]
    for number in sorted(ended.keys() | returns.keys()):
        yield number, [*(_attempt(ended[number], died=number in died) if number in ended else []), *returns.get(number, [])]
    if is_rest:
        yield max(task["attempt"] + 1, first), sorted(_now(task), key=lambda event: (event.at, ORDER[event.event]))


def _attempt(row: asyncpg.Record, *, died: bool) -> list[TimelineEvent]:
    error = None if row["error"] is None else errors.stored(row["error"]).shown()
    seconds = (row["ended_at"] - row["started_at"]).total_seconds()
    of = {"attempt": row["attempt"], "worker_id": row["worker_id"]}
    outcome, has_logs = AttemptOutcome(row["outcome"]), row["has_logs"]
    started = TimelineEvent(at=row["started_at"], event=TaskMoment.STARTED, **of)
    ended = TimelineEvent(at=row["ended_at"], event=TaskMoment.ENDED, **of, outcome=outcome, seconds=seconds, error=error, has_logs=has_logs)
    return [started, ended, *([TimelineEvent(at=row["ended_at"], event=TaskMoment.DEAD_LETTER, attempt=row["attempt"])] if died else [])]


def _now(task: asyncpg.Record) -> list[TimelineEvent]:
    """Where it stands."""
    match Status(task["status"]):
        case Status.PENDING:
            due = [TimelineEvent(at=task["run_at"], event=TaskMoment.DUE)] if task["run_at"] > task["created"] else []
            return due + ([TimelineEvent(at=task["rung_at"], event=TaskMoment.RUNG)] if task["rung_at"] else [])
        case Status.RUNNING:
            rung = [TimelineEvent(at=task["rung_at"], event=TaskMoment.RUNG)] if task["rung_at"] and task["rung_at"] <= task["started_at"] else []
            return [*rung, TimelineEvent(at=task["started_at"], event=TaskMoment.STARTED, attempt=task["attempt"], worker_id=task["worker_id"])]
        case Status.DEAD_LETTER:
            return []
        case Status.COMPLETED:  # its last attempt says so
            return []
        case ended:
            error = None if task["error"] is None else errors.stored(task["error"])
            by = (error.details or {}).get("by") if error and ended is Status.CANCELLED else None
            at = task["completed_at"] or task["updated"]
            return [TimelineEvent(at=at, event=TaskMoment(ended.value), by=by if isinstance(by, str) else None, error=error.shown() if error else None)]
