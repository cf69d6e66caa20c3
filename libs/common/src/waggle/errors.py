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
    """What a caller can do about an error."""

    retryable: bool
    requires_user_input: bool
    alternative_action: str | msgspec.UnsetType = msgspec.UNSET


RECOVERY: Final[Mapping[ErrorCode, Recovery]] = MappingProxyType(
    {
        ErrorCode.UNAUTHORIZED: Recovery(False, True, "Sign in again or use a key that may do this."),
        ErrorCode.INVALID_INPUT: Recovery(False, True, "Correct the request and send it again."),
        ErrorCode.NOT_FOUND: Recovery(False, True, "Check the id; finished tasks are deleted after their retention."),
        ErrorCode.RATE_LIMIT_EXCEEDED: Recovery(True, False, "Wait as long as Retry-After says."),
        ErrorCode.SERVICE_UNAVAILABLE: Recovery(True, False, "Wait as long as Retry-After says; repeat with the same Idempotency-Key."),
        ErrorCode.INTERNAL_ERROR: Recovery(True, False, "Repeat with the same Idempotency-Key; report the request id if it stays."),
        ErrorCode.NETWORK_ERROR: Recovery(True, False),
        ErrorCode.VALIDATION_ERROR: Recovery(False, True, "Correct the fields named in the error."),
        ErrorCode.TASK_EXECUTION_FAILED: Recovery(True, False),
        ErrorCode.TASK_TIMEOUT: Recovery(True, False, "Give the task a longer timeout or less to do."),
        ErrorCode.TASK_CANCELLED: Recovery(False, False),
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
        """The error with its code's recovery strategy."""
        recovery = RECOVERY[self.code]
        return ShownError(
            code=self.code,
            message=self.message,
            retryable=self.retryable,
            requires_user_input=recovery.requires_user_input,
            alternative_action=recovery.alternative_action,
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
