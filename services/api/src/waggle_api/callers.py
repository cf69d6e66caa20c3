"""Who sends a request: the one place that will know once requests are authenticated."""

from typing import Any, Final

from litestar import Request

from waggle_api.http.routing import Scope

ANONYMOUS: Final = "anonymous"


def identify(request: Request[Any, Any, Any], scope: Scope) -> str:  # noqa: ARG001  # authentication will read both
    """The name under which the caller submits tasks and owns idempotency keys."""
    return ANONYMOUS
