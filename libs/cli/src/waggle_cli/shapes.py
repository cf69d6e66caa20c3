"""What the command line reads of the API's answers. Whatever else an answer holds goes through untouched."""

from typing import Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

Json = dict[str, Any]


class TaskError(TypedDict):
    """Why a task, or one of its tries, failed."""

    code: str
    message: str
    retryable: bool
    alternativeAction: NotRequired[str]
    details: NotRequired[Json]


class Task(TypedDict):
    """A task as the API shows it; lists leave the payload out."""

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
    error: NotRequired[TaskError]
    result: NotRequired[Any]
    payload: NotRequired[Any]
    original_payload: NotRequired[Any]
    started_at: NotRequired[str]
    worker_id: NotRequired[str]
    unique_key: NotRequired[str]


class Attempt(TypedDict):
    """An attempt that has ended."""

    attempt: int
    worker_id: str
    started_at: str
    ended_at: str
    outcome: str
    error: NotRequired[TaskError]


class Page(TypedDict, Generic[T]):
    """A list; without a cursor it is the last page."""

    items: list[T]
    next_cursor: NotRequired[str]


class Redrive(TypedDict):
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


class Queue(TypedDict):
    """A queue: its sums, and each of its lanes by the name of its priority."""

    name: str
    paused: bool
    ready: int
    later: int
    running: int
    lanes: dict[str, dict[str, int]]


class Answer(NamedTuple, Generic[T]):
    """What the API answered: its status, its body as it came, and decoded."""

    status: int
    raw: bytes
    value: T
