"""Who sends a request. The one place that will know, once requests are authenticated."""

from typing import Any, Final

from litestar import Request

ANONYMOUS: Final = "anonymous"


def submitter(request: Request[Any, Any, Any]) -> str:  # noqa: ARG001  # authentication will read it
    """The name under which tasks are submitted and idempotency keys are kept."""
    return ANONYMOUS
