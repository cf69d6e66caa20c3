"""What can go wrong between the command line and the API."""

from collections.abc import Mapping
from typing import Any


class WrongUrl(Exception):
    """The given address cannot be the address of an API."""


class NotSignedIn(Exception):
    """There is no login to end."""


class Unreachable(Exception):
    """No Waggle API answers. `unknown`: the request may have been carried out nevertheless."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class ApiError(Exception):
    """The API refuses a request: its problem+json. `unknown`: the request may have been carried out nevertheless."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.unknown = status >= 500
        self.code = str(body.get("code", ""))
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.errors = [(str(error.get("field", "")), str(error.get("message", ""))) for error in body.get("errors") or []]
        self.request_id = str(body.get("request_id", ""))
        super().__init__(self.detail)


def may_pass(error: Unreachable | ApiError) -> bool:
    """Whether waiting can help: the API is unreachable or answers 503."""
    return isinstance(error, Unreachable) or error.status == 503
