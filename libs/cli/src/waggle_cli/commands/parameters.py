"""The parameters that several commands share, and the texts below their help."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from waggle_cli.commands import options
from waggle_cli.rest.shapes import PRIORITIES

EXIT_CODES: Final = """\
Exit codes:
  0  done
  1  refused, or what the command waited for did not complete
  2  wrong usage
  3  not found
  4  the API is unreachable or unavailable
"""
WHICH_API: Final = """\
The API's address is the first of --url, WAGGLE_URL, and that of the `waggle up`
that runs in this folder or in one above it.
"""
LIST_LIMIT: Final = 20

Status = Literal["pending", "running", "completed", "failed", "cancelled", "dead_letter"]
EndStatus = Literal["completed", "failed", "cancelled", "dead_letter"]
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
    """The text below a command's help: its examples, and the exit codes."""
    return "\n".join(["Examples:", *(f"  {command}" for command in commands), "", EXIT_CODES])


def known_types(_: Any) -> dict[str, str]:
    from waggle_cli.rest.completers import types

    return types()


def _queues(_: Any) -> dict[str, str]:
    from waggle_cli.rest.completers import queues

    return queues()


def _breakers(_: Any) -> dict[str, str]:
    from waggle_cli.rest.completers import breakers

    return breakers()


def _tasks(_: Any) -> dict[str, str]:
    from waggle_cli.rest.completers import tasks

    return tasks()


def _dead_letters(_: Any) -> dict[str, str]:
    from waggle_cli.rest.completers import dead_letters

    return dead_letters()


Output = Annotated[
    Literal["table", "json", "jsonl"],
    Parameter(name=("--output", "-o"), help="Table for people, JSON exactly as the API sends it, or JSON lines with one item per line."),
]
TableOrJson = Annotated[Literal["table", "json"], Parameter(name=("--output", "-o"), help="Table for people or JSON for programs.")]
Url = Annotated[str, Parameter(help="The API's address (WAGGLE_URL); the default is the `waggle up` of this folder.", show_default=False)]
Seconds = Annotated[float | None, Parameter(converter=options.seconds, metavar="SECONDS")]
Moment = Annotated[str | None, Parameter(converter=options.moment, metavar="TIME")]
JsonObject = Annotated[str | None, Parameter(converter=options.json_object, allow_leading_hyphen=True, metavar="JSON|@FILE|-")]
Priority = Annotated[int | None, Parameter(converter=options.priority, completer=lambda _: list(PRIORITIES), metavar="PRIORITY")]
Limit = Annotated[int, Parameter(validator=Number(gte=1), metavar="N")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
SetFields = Annotated[list[str] | None, Parameter(name="--set", validator=options.assignments, metavar="NAME=VALUE")]
DropFields = Annotated[list[str] | None, Parameter(name="--drop", metavar="NAME")]

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
    """A filter as the API expects it; None does not filter."""
    return {name.rstrip("_"): value or None if isinstance(value, list) else value for name, value in vars(filters).items()}


@dataclass(frozen=True, kw_only=True)
class _TaskFilter:
    """A filter of tasks.

    Parameters
    ----------
    status
        Only tasks with this status. May be repeated.
    type_
        Only tasks of this type. May be repeated.
    queue
        Only tasks in this queue.
    priority
        Only tasks with this priority: low, medium, high or critical, or 0 to 3.
    created_from
        Only tasks created at this time or later.
    created_to
        Only tasks created before this time.
    metadata
        Only tasks whose metadata contains this JSON object.
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
    """A filter of dead letters.

    Parameters
    ----------
    type_
        Only dead letters of this type. May be repeated.
    queue
        Only dead letters of this queue.
    code
        Only dead letters with this error code. May be repeated.
    text
        Only dead letters whose error message contains this text, ignoring case.
    older_than
        Only dead letters that died at least this long ago: seconds, or a length such as 15m, 2h or 7d.
    newer_than
        Only dead letters that died within this time.
    fingerprint
        Only dead letters of this group; `waggle dlq groups` shows the groups.
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
    """A part of a list.

    Parameters
    ----------
    limit
        Maximum number of items; a hint shows how to get more.
    all_
        All items.
    cursor
        Continue a list: the `next_cursor` of its last page.
    """

    limit: Limit = LIST_LIMIT
    all_: All = False
    cursor: str | None = None

    @property
    def maximum(self) -> int | None:
        return None if self.all_ else self.limit


TaskFilter = Annotated[_TaskFilter, Parameter(name="*")]
DeadFilter = Annotated[_DeadFilter, Parameter(name="*")]
Part = Annotated[_Part, Parameter(name="*")]
EVERY_TASK: Final = _TaskFilter()
EVERY_DEAD_LETTER: Final = _DeadFilter()
FIRST_PART: Final = _Part()
