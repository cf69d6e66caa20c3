"""The parameters that several commands share, and the texts that stand below their help."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from waggle_cli import options

EXIT_CODES: Final = """\
Exit codes:
  0  done
  1  it was refused, or what was waited for did not go well
  2  wrong usage
  3  not found
  4  the API is not reachable, or not available
"""
WHICH_API: Final = """\
The API is the one that --url names, else WAGGLE_URL, else that of the
`waggle up` which runs in this folder or in one above it.
"""
LIST_LIMIT: Final = 20

Status = Literal["pending", "running", "completed", "failed", "cancelled", "dead_letter"]
ErrorCode = Literal[
    "task_execution_failed",
    "task_timeout",
    "task_cancelled",
    "validation_error",
    "internal_error",
    "network_error",
    "service_unavailable",
    "rate_limit_exceeded",
    "invalid_input",
    "not_found",
    "unauthorized",
]


def examples(*commands: str) -> str:
    """What stands below a command's help: its examples, and the exit codes."""
    return "\n".join(["Examples:", *(f"  {command}" for command in commands), "", EXIT_CODES])


def known_types(_: Any) -> dict[str, str]:
    from waggle_cli.completers import types

    return types()


def _queues(_: Any) -> dict[str, str]:
    from waggle_cli.completers import queues

    return queues()


def _breakers(_: Any) -> dict[str, str]:
    from waggle_cli.completers import breakers

    return breakers()


def _tasks(_: Any) -> dict[str, str]:
    from waggle_cli.completers import tasks

    return tasks()


def _dead_letters(_: Any) -> dict[str, str]:
    from waggle_cli.completers import dead_letters

    return dead_letters()


Output = Annotated[
    Literal["table", "json", "jsonl"],
    Parameter(name=("--output", "-o"), help="table is for people; json is exactly what the API answers; jsonl has one item a line."),
]
Url = Annotated[str, Parameter(help="The API's address; else WAGGLE_URL, else that of the `waggle up` of this folder.", show_default=False)]
Seconds = Annotated[float | None, Parameter(converter=options.seconds, metavar="SECONDS")]
Moment = Annotated[str | None, Parameter(converter=options.moment, metavar="TIME")]
JsonObject = Annotated[str | None, Parameter(converter=options.json_object, allow_leading_hyphen=True, metavar="JSON|@FILE|-")]
Priority = Annotated[int | None, Parameter(converter=options.priority, completer=lambda _: list(options.PRIORITIES), metavar="PRIORITY")]
Limit = Annotated[int, Parameter(validator=Number(gte=1), metavar="N")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

All = Annotated[bool, Parameter(name="--all", negative="", show_default=False)]

TaskId = Annotated[str, Parameter(converter=options.task_id, completer=_tasks, name="ID")]
TaskIds = Annotated[list[str], Parameter(converter=options.task_id, completer=_tasks, allow_leading_hyphen=True, name="ID")]
DeadLetterId = Annotated[str, Parameter(converter=options.task_id, completer=_dead_letters, name="ID")]
DeadLetterIds = Annotated[list[str], Parameter(converter=options.task_id, completer=_dead_letters, allow_leading_hyphen=True, name="ID")]
TypeName = Annotated[str, Parameter(completer=known_types, name="NAME")]
QueueName = Annotated[str, Parameter(completer=_queues, name="NAME")]
QueueNames = Annotated[list[str], Parameter(completer=_queues, name="NAME")]
BreakerName = Annotated[str, Parameter(completer=_breakers, name="NAME")]

OfTypes = Annotated[list[str] | None, Parameter(name="--type", completer=known_types, metavar="TYPE")]
OfType = Annotated[str | None, Parameter(name="--type", completer=known_types, metavar="TYPE")]
OfQueue = Annotated[str | None, Parameter(name="--queue", completer=_queues, metavar="QUEUE")]


def _query(filters: object) -> dict[str, Any]:
    """A filter as the API takes it; what does not filter is None."""
    return {name.rstrip("_"): value or None if isinstance(value, list) else value for name, value in vars(filters).items()}


@dataclass(frozen=True, kw_only=True)
class _TaskFilter:
    """Which tasks.

    Parameters
    ----------
    status
        Only tasks with this status; may be given several times.
    type_
        Only tasks of this type; may be given several times.
    queue
        Only tasks of this queue.
    priority
        Only tasks of this priority: low, medium, high or critical, or 0 to 3.
    created_from
        Only tasks that were created at this time or later.
    created_to
        Only tasks that were created before this time.
    metadata
        Only tasks whose metadata hold this JSON object.
    """

    status: list[Status] | None = None
    type_: OfTypes = None
    queue: OfQueue = None
    priority: Priority = None
    created_from: Moment = None
    created_to: Moment = None
    metadata: JsonObject = None

    def query(self) -> dict[str, Any]:
        return _query(self)


@dataclass(frozen=True, kw_only=True)
class _DeadFilter:
    """Which dead letters.

    Parameters
    ----------
    type_
        Only dead letters of this type; may be given several times.
    queue
        Only those of this queue.
    code
        Only those whose error has this code; may be given several times.
    text
        Only those whose error's message holds this text, in upper or lower case.
    older_than
        Only those that died so long ago: seconds, or a length such as 15m, 2h or 7d.
    newer_than
        Only those that died since.
    fingerprint
        Only those of this group; `waggle dlq groups` shows them.
    """

    type_: OfTypes = None
    queue: OfQueue = None
    code: Annotated[list[ErrorCode] | None, Parameter(metavar="CODE")] = None
    text: str | None = None
    older_than: Seconds = None
    newer_than: Seconds = None
    fingerprint: str | None = None

    def query(self) -> dict[str, Any]:
        return _query(self)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """How much of a list.

    Parameters
    ----------
    limit
        How many at most; a hint says how to get the next ones.
    all_
        All of them, however many.
    cursor
        Go on where a list ended: its `next_cursor`.
    """

    limit: Limit = LIST_LIMIT
    all_: All = False
    cursor: str | None = None

    @property
    def most(self) -> int | None:
        return None if self.all_ else self.limit


TaskFilter = Annotated[_TaskFilter, Parameter(name="*")]
DeadFilter = Annotated[_DeadFilter, Parameter(name="*")]
Part = Annotated[_Part, Parameter(name="*")]
EVERY_TASK: Final = _TaskFilter()
EVERY_DEAD_LETTER: Final = _DeadFilter()
FIRST_PART: Final = _Part()
