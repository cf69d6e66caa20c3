"""What can go wrong when a program uses Waggle: one tree under `WaggleError`."""

from collections.abc import Mapping
from typing import Any, Final

from waggle.client.answers import TaskSnapshot
from waggle.errors import ShownError


class WaggleError(Exception):
    """Something of Waggle failed."""


class WrongAddressError(WaggleError, ValueError):
    """The address or the key of the API cannot be right, or none was found."""


class UnreachableError(WaggleError):
    """No Waggle API answers. `unknown`: the request may have been carried out nevertheless."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class ResponseError(WaggleError):
    """The API refuses a request: its problem+json.

    `status` is that of HTTP, `code` one of `ErrorCode`; `errors` names fields and what is wrong with them. `retryable`, `requires_user_input` and
    `alternative_action` say what can be done; `retry_after` is in seconds.
    """

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status, self.body, self.retry_after = status, body, retry_after
        self.code = str(body.get("code", ""))
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.errors = [(str(error.get("field", "")), str(error.get("message", ""))) for error in _listed(body.get("errors"))]
        self.request_id = str(body.get("request_id", ""))
        self.retryable, self.requires_user_input = bool(body.get("retryable")), bool(body.get("requiresUserInput"))
        self.alternative_action = str(body.get("alternativeAction", ""))
        super().__init__("; ".join([self.detail, *(f"{field}: {message}" for field, message in self.errors)]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.body, self.retry_after)


class UnauthorizedError(ResponseError):
    """401: the key is missing, wrong or no longer valid."""


class ForbiddenError(ResponseError):
    """403: the key may not do this."""


class TaskNotFoundError(ResponseError):
    """404: there is no such task, or the key may not see it."""


class ConflictError(ResponseError):
    """409: the task is in a state that does not allow this."""


class InvalidTaskError(ResponseError):
    """400, 413, 422: something of the request is wrong; `errors` says which fields."""


class RateLimitError(ResponseError):
    """429: more than the limit allows; `retry_after` says when there is room again."""


class UnavailableError(ResponseError):
    """503: the API cannot do this now; the client has waited and repeated it until its time was up."""


class TaskFailedError(WaggleError):
    """The task ended without success; `error` is its own error, `task` the task."""

    def __init__(self, task: TaskSnapshot) -> None:
        self.task = task
        self.error: ShownError | None = task.error
        super().__init__(f"task {task.id} ({task.type}) is {task.status}" + (f": {task.error.message}" if task.error else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task,)


class ResultError(WaggleError, ValueError):
    """The task is completed, but its result cannot be read here."""


class TaskTimeoutError(WaggleError, TimeoutError):
    """The task had not ended when the time of the wait was up. It goes on."""

    def __init__(self, task: TaskSnapshot, seconds: float) -> None:
        self.task, self.seconds = task, seconds
        super().__init__(f"task {task.id} ({task.type}) is {task.status} after {seconds:g} s")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.task, self.seconds)


def _listed(found: Any) -> list[Mapping[str, Any]]:
    """The errors of fields; nothing of what is none."""
    return [error for error in found if isinstance(error, dict)] if isinstance(found, list) else []


BY_STATUS: Final[Mapping[int, type[ResponseError]]] = {
    400: InvalidTaskError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: TaskNotFoundError,
    409: ConflictError,
    413: InvalidTaskError,
    422: InvalidTaskError,
    429: RateLimitError,
    503: UnavailableError,
}
