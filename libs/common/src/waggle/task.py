"""The task: its status machine, and what follows from the outcome of a try. Pure; tests compare the SQL and docs/states.md with it."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated, Final, assert_never
from uuid import UUID

import msgspec

from waggle.errors import ErrorCode, ShownError, TaskError
from waggle.retry import SNOOZE_CAP_SECONDS, backoff, ceiling

SNOOZES_AT_WILL: Final = 10
SHORTEST_SNOOZE_SECONDS: Final = 1.0
PAYLOAD_LIMIT: Final = 1 << 20
RESULT_LIMIT: Final = 1 << 20
TYPE_PATTERN: Final = r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
TYPE_LENGTH: Final = 64
QUEUE_PATTERN: Final = r"^[a-z][a-z0-9_-]*$"
QUEUE_LENGTH: Final = 32
BREAKER_PATTERN: Final = r"^[a-z][a-z0-9._:-]*$"
BREAKER_LENGTH: Final = 128
DEFAULT_QUEUE: Final = "default"
DEFAULT_MAX_RETRIES: Final = 3
DEFAULT_TIMEOUT: Final = 300.0


class Status(StrEnum):
    """A task that waits for its time or its next try is pending, with `run_at` in the future."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTER = "dead_letter"


NEXT: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
        Status.RUNNING: frozenset({Status.COMPLETED, Status.PENDING, Status.DEAD_LETTER, Status.FAILED, Status.CANCELLED}),
        Status.DEAD_LETTER: frozenset({Status.PENDING, Status.FAILED}),
    }
)
FINAL: Final = frozenset(Status) - NEXT.keys()
AT_REST: Final = FINAL | {Status.DEAD_LETTER}  # nothing but retention changes it by itself


class Priority(IntEnum):
    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class AttemptOutcome(StrEnum):
    """How an attempt ended, as `task_attempts.outcome` stores it."""

    COMPLETED = "completed"
    FAILED = "failed"
    SNOOZED = "snoozed"
    GIVEN_BACK = "given_back"
    LOST = "lost"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"


class Fence(msgspec.Struct, frozen=True):
    """Names exactly one claim: only its holder may settle the task."""

    id: UUID
    attempt: int
    worker_id: str
    started_at: datetime


class Tries(msgspec.Struct, frozen=True):
    """What `decide` needs to know of a task. Tries = 1 + `max_retries`."""

    retry_count: int
    max_retries: int
    dead_letter: bool = True  # False: its type opted out of the dead letter queue

    @property
    def left(self) -> bool:
        return self.retry_count < self.max_retries


class Done(msgspec.Struct, frozen=True, tag=True):
    """The handler returned. `result` is JSON text, or None."""

    result: str | None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The handler raised, timed out, or could not be called. `after` overrides the backoff, in seconds.

    `misfit`: this worker's version of the type cannot read the payload; another one may.
    """

    error: TaskError
    after: float | None = None
    misfit: bool = False


class Snoozed(msgspec.Struct, frozen=True, tag=True):
    """Wait `delay` seconds; costs no try. `error` says why when the handler did not ask for it."""

    delay: float
    ended: AttemptOutcome = AttemptOutcome.SNOOZED
    error: TaskError | None = None


class Lost(msgspec.Struct, frozen=True, tag=True):
    """The lease of its worker expired: a failed try, run again at once."""


Outcome = Done | Failed | Snoozed | Lost


class Step(msgspec.Struct, frozen=True):
    """Where a running task goes next, and what its attempt row records."""

    status: Status
    ended: AttemptOutcome
    delay: float = 0.0  # seconds until run_at, for pending
    error: TaskError | None = None
    result: str | None = None
    counted: bool = False  # raises retry_count
    lost: bool = False  # raises lost_count
    logs: str | None = None  # JSON: what the handler logged
    emitted: str | None = None  # JSON: the last values that it emitted


LOST_ERROR: Final = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "the worker stopped answering while it ran this task", retryable=True)


def decide(outcome: Outcome, tries: Tries) -> Step:
    """The one rule for what follows a try."""
    match outcome:
        case Done(result):
            return Step(Status.COMPLETED, AttemptOutcome.COMPLETED, result=result)
        case Snoozed(delay, ended, error):
            return Step(Status.PENDING, ended, delay=delay, error=error)
        case Lost() if tries.left:
            return Step(Status.PENDING, AttemptOutcome.LOST, error=LOST_ERROR, counted=True, lost=True)
        case Lost():
            return Step(_after_last_try(tries), AttemptOutcome.LOST, error=LOST_ERROR, lost=True)
        case Failed(error, after) if error.retryable and tries.left:
            return Step(Status.PENDING, AttemptOutcome.FAILED, delay=backoff(tries.retry_count) if after is None else after, error=error, counted=True)
        case Failed(error):
            return Step(_after_last_try(tries), AttemptOutcome.FAILED, error=error)
        case _:
            assert_never(outcome)


def _after_last_try(tries: Tries) -> Status:
    return Status.DEAD_LETTER if tries.dead_letter else Status.FAILED


def not_here_delay(attempt: int, retry_count: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds that a task waits after a worker that cannot run it claimed it: 1 s, doubled with each uncounted attempt, up to 30 s.

    Up to half of that is left off at random, so that tasks that were claimed together do not come back together.
    """
    most = ceiling(attempt - 1 - retry_count, SNOOZE_CAP_SECONDS)
    return uniform(most / 2, most)


def other_version_delay(attempt: int, retry_count: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds that a task waits after a worker claimed it whose version of the type cannot read it: 1 s, a tenth more each time, up to 30 s.

    That rises more slowly than `not_here_delay`, because a live worker can run the task, and only has to be the one that claims it.
    """
    most = min(1.0 + (attempt - 1 - retry_count) / 10, SNOOZE_CAP_SECONDS)
    return uniform(most / 2, most)


def shortest_snooze(attempt: int, retry_count: int) -> float:
    """Seconds that a snooze lasts at least: a task may snooze SNOOZES_AT_WILL times without a wait; one that goes on is looked at once a second."""
    return 0.0 if attempt - retry_count <= SNOOZES_AT_WILL else SHORTEST_SNOOZE_SECONDS


Object = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class Task(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task as the API shows it. Absent optional fields are left out.

    `payload`, `result` and `metadata` are raw JSON. Times are UTC; `timeout` is in seconds. `hidden`: the fields that this caller may not see.
    `trace_id`: its trace, from its submission to its end, and `trace_url` where to see it. `callback_url`, of one task alone: where its end is reported.
    """

    id: UUID
    type: str
    status: Status
    priority: Priority
    description: str
    created: datetime
    updated: datetime
    retry_count: int
    max_retries: int
    metadata: Object
    queue: str
    run_at: datetime
    attempt: int
    timeout: float
    completed_at: datetime | None = None
    deadline: datetime | None = None
    error: ShownError | None = None
    result: msgspec.Raw | None = None
    payload: Object | None = None
    started_at: datetime | None = None
    worker_id: str | None = None
    unique_key: str | None = None
    lost_count: int = 0
    hidden: list[str] | None = None
    trace_id: str | None = None
    trace_url: str | None = None
    callback_url: str | None = None


class Claimed(msgspec.Struct, frozen=True):
    """A task as the worker that claimed it holds it; `payload` and `metadata` are JSON text, `timeout` is in seconds.

    A large payload is fetched after the claim; until then `payload` is empty.
    """

    id: UUID
    attempt: int
    started_at: datetime
    type: str
    payload: str
    timeout: float
    retry_count: int
    max_retries: int
    lost_count: int
    queue: str
    priority: int
    description: str
    metadata: str
    created: datetime
    run_at: datetime
    deadline: datetime | None
    unique_key: str | None
    traceparent: str | None
    tracestate: str | None

    def as_task(self) -> Task:
        """The task as it was when it was claimed."""
        return Task(
            id=self.id,
            type=self.type,
            status=Status.RUNNING,
            priority=Priority(self.priority),
            description=self.description,
            created=self.created,
            updated=self.started_at,
            retry_count=self.retry_count,
            max_retries=self.max_retries,
            metadata=msgspec.Raw(self.metadata),
            queue=self.queue,
            run_at=self.run_at,
            attempt=self.attempt,
            timeout=self.timeout,
            deadline=self.deadline,
            payload=msgspec.Raw(self.payload),
            started_at=self.started_at,
            unique_key=self.unique_key,
            lost_count=self.lost_count,
        )
