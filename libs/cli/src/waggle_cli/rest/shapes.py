"""The parts of the API's JSON that the command line reads. Everything else passes through untouched."""

from typing import Any, Final, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

Json = dict[str, Any]

PRIORITIES: Final = ("low", "medium", "high", "critical")
AT_REST: Final = ("completed", "failed", "cancelled", "dead_letter")
SHOWN_ATTEMPTS: Final = 50  # of a task that is shown, at most: the last ones
UNFINISHED: Final = ("pending", "running")


class TaskErrorJson(TypedDict):
    """Why a task, or one of its attempts, failed."""

    code: str
    message: str
    retryable: bool
    alternativeAction: NotRequired[str]
    details: NotRequired[Json]


class TaskJson(TypedDict):
    """A task as the API shows it; lists leave out the payload."""

    id: str
    type: str
    status: str
    priority: int
    description: str
    created: str
    updated: str
    retry_count: int
    max_retries: int
    metadata: Json
    queue: str
    run_at: str
    attempt: int
    timeout: float
    completed_at: NotRequired[str]
    deadline: NotRequired[str]
    error: NotRequired[TaskErrorJson]
    result: NotRequired[Any]
    payload: NotRequired[Any]
    original_payload: NotRequired[Any]
    started_at: NotRequired[str]
    worker_id: NotRequired[str]
    unique_key: NotRequired[str]


def attempts_left_out(task: TaskJson) -> int:
    """How many of its first attempts are not asked for when a task is shown."""
    return max(task["attempt"] - SHOWN_ATTEMPTS, 0)


class PageJson(TypedDict, Generic[T]):
    """A page of a list; the last page has no cursor."""

    items: list[T]
    next_cursor: NotRequired[str]


class RedriveJson(TypedDict):
    """A bulk retry of dead letters."""

    id: str
    state: str
    filter: Json
    rate: float
    matched: int
    retried: int
    skipped: int
    failed_again: int
    created: str
    updated: str
    limit: NotRequired[int]
    reason: NotRequired[str]
    ended_at: NotRequired[str]
    submitted_by: NotRequired[str]
    changes: NotRequired[Json]
    unfit: NotRequired[int]
    first_unfit: NotRequired[list[Json]]


class QueueJson(TypedDict):
    """A queue: its totals, and each lane by the name of its priority."""

    name: str
    paused: bool
    ready: int
    later: int
    running: int
    lanes: dict[str, dict[str, int]]


class Reply(NamedTuple, Generic[T]):
    """An answer of the API: its status, its body as it came, and the decoded body."""

    status: int
    raw: bytes
    value: T
