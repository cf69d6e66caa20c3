"""Error codes, how a caller can recover from each, and the error that a task records."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec


class ErrorCode(StrEnum):
    UNAUTHORIZED = "unauthorized"
    INVALID_INPUT = "invalid_input"
    NOT_FOUND = "not_found"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    SERVICE_UNAVAILABLE = "service_unavailable"
    INTERNAL_ERROR = "internal_error"
    NETWORK_ERROR = "network_error"
    VALIDATION_ERROR = "validation_error"
    TASK_EXECUTION_FAILED = "task_execution_failed"
    TASK_TIMEOUT = "task_timeout"
    TASK_CANCELLED = "task_cancelled"


SEED_NAMES: Final = {"requires_user_input": "requiresUserInput", "alternative_action": "alternativeAction"}


class Recovery(msgspec.Struct, frozen=True, rename=SEED_NAMES):
    """What the sender of a request can do about an error."""

    retryable: bool
    requires_user_input: bool
    alternative_action: str | msgspec.UnsetType = msgspec.UNSET


RECOVERY: Final[Mapping[ErrorCode, Recovery]] = MappingProxyType(
    {
        ErrorCode.UNAUTHORIZED: Recovery(False, True, "Sign in again or use a key that may do this."),
        ErrorCode.INVALID_INPUT: Recovery(False, True, "Correct the request and send it again."),
        ErrorCode.NOT_FOUND: Recovery(False, True, "Check the id; finished tasks are deleted after their retention."),
        ErrorCode.RATE_LIMIT_EXCEEDED: Recovery(True, False, "Wait as long as Retry-After says."),
        ErrorCode.SERVICE_UNAVAILABLE: Recovery(True, False, "Wait as long as Retry-After says, then repeat the request."),
        ErrorCode.INTERNAL_ERROR: Recovery(True, False, "Repeat the request; report the request id if it stays."),
        ErrorCode.NETWORK_ERROR: Recovery(True, False),
        ErrorCode.VALIDATION_ERROR: Recovery(False, True, "Correct the fields named in the error."),
        ErrorCode.TASK_EXECUTION_FAILED: Recovery(True, False),
        ErrorCode.TASK_TIMEOUT: Recovery(True, False, "Give the task a longer timeout or less to do."),
        ErrorCode.TASK_CANCELLED: Recovery(False, False),
    }
)

# What can be done about a task that failed. It asks for no request to be repeated: the task is retried.
TASK_ADVICE: Final[Mapping[ErrorCode, str]] = MappingProxyType(
    {
        ErrorCode.UNAUTHORIZED: "Give the handler what the called service asks for, then retry the task.",
        ErrorCode.INVALID_INPUT: "Retry the task with a payload that its handler accepts.",
        ErrorCode.NOT_FOUND: "Check what the payload names, then retry the task.",
        ErrorCode.RATE_LIMIT_EXCEEDED: "Retry the task later, or run fewer of its type at once.",
        ErrorCode.SERVICE_UNAVAILABLE: "Nothing, while the task waits; retry a dead letter once the called service works.",
        ErrorCode.INTERNAL_ERROR: "Look for the cause in the worker's log, then retry the task.",
        ErrorCode.VALIDATION_ERROR: "Retry the task with a payload that fits the schema of its type.",
        ErrorCode.TASK_TIMEOUT: "Give the task a longer timeout or less to do.",
    }
)

MESSAGE_LIMIT: Final = 2_000


class ShownError(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, rename=SEED_NAMES):
    """A task's error as the API shows it, with its recovery strategy; absent fields are left out."""

    code: ErrorCode
    message: str
    retryable: bool
    requires_user_input: bool
    alternative_action: str | msgspec.UnsetType = msgspec.UNSET
    details: dict[str, Any] | None = None


class TaskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a try failed, as stored in `tasks.error` and `task_attempts.error`.

    `retryable`: whether another try could succeed. It may differ from the usual strategy of the code, because a handler may know better.
    """

    code: ErrorCode
    message: str
    retryable: bool
    details: dict[str, Any] | None = None

    def shown(self) -> ShownError:
        """The error with its code's recovery strategy, and advice for a task."""
        recovery = RECOVERY[self.code]
        return ShownError(
            code=self.code,
            message=self.message,
            retryable=self.retryable,
            requires_user_input=recovery.requires_user_input,
            alternative_action=TASK_ADVICE.get(self.code, msgspec.UNSET),
            details=self.details,
        )


def stored(text: str) -> TaskError:
    """Decode a stored error. One that cannot be read (written by SQL or a newer Waggle) becomes text, so that lists can still show it."""
    try:
        return msgspec.json.decode(text, type=TaskError)
    except (msgspec.DecodeError, RecursionError):
        return TaskError(ErrorCode.INTERNAL_ERROR, f"unreadable error: {text[:500]}", retryable=False)


def storable(text: str) -> str:
    """`text` as Postgres can store it: at most MESSAGE_LIMIT characters, without NUL and lone surrogates."""
    return text[:MESSAGE_LIMIT].replace("\x00", "�").encode("utf-8", "replace").decode()
