"""What can go wrong, in the seed's words: error codes, how a caller may recover, and a task's recorded error."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec


class ErrorCode(StrEnum):
    """The third seed's `ErrorCode`, value for value."""

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


class Recovery(
    msgspec.Struct, frozen=True, omit_defaults=False, rename={"requires_user_input": "requiresUserInput", "alternative_action": "alternativeAction"}
):
    """The seed's `ErrorRecoveryStrategy`: what a caller can do about an error."""

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


class TaskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a try failed, as stored in `tasks.error` and `task_attempts.error`.

    `retryable` is whether another try could succeed; it may differ from its code's usual strategy (a handler may know better).
    """

    code: ErrorCode
    message: str
    retryable: bool
    details: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """The error as the API shows it: with its recovery strategy, the seed's field names, absent fields left out."""
        recovery = msgspec.to_builtins(RECOVERY[self.code])
        shown = {"code": self.code.value, "message": self.message, **recovery, "retryable": self.retryable}
        return shown if self.details is None else {**shown, "details": self.details}


def storable(text: str) -> str:
    """`text` as Postgres can store it: bounded, without NUL and without lone surrogates."""
    return text[:MESSAGE_LIMIT].replace("\x00", "�").encode("utf-8", "replace").decode()
