"""Errors as `application/problem+json` (RFC 9457). One table maps them to HTTP."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response import Response

from waggle.errors import RECOVERY, SEED_NAMES, ErrorCode
from waggle.field_errors import FieldError, Invalid, Unreadable
from waggle.store.postgres import POSTGRES_OUTAGE, REFUSED
from waggle_api import metrics, refusals
from waggle_api.http.answers import EncodedResponse

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
CHALLENGE: Final = 'Bearer realm="waggle"'
PAGE: Final = "https://github.com/waggle-tasks/waggle/blob/main/docs/api.md#"  # of a code


class Kind(NamedTuple):
    """How a kind of error is answered."""

    errors: tuple[type[Exception], ...]
    status: int
    code: ErrorCode
    title: str


# The first that fits counts.
TABLE: Final = (
    Kind((refusals.Malformed, Unreadable), 400, ErrorCode.INVALID_INPUT, "The request cannot be read"),
    Kind((refusals.Unauthenticated,), 401, ErrorCode.UNAUTHORIZED, "Not signed in"),
    Kind((refusals.ForeignPage, refusals.Forbidden, refusals.Blocked), 403, ErrorCode.UNAUTHORIZED, "Not allowed"),
    Kind((refusals.NotFound,), 404, ErrorCode.NOT_FOUND, "Not found"),
    Kind((refusals.TooSlow,), 408, ErrorCode.INVALID_INPUT, "The request came too slowly"),
    Kind((refusals.Conflict,), 409, ErrorCode.INVALID_INPUT, "The request conflicts with what is there"),
    Kind((refusals.TooLarge,), 413, ErrorCode.INVALID_INPUT, "The request is too large"),
    Kind((refusals.WrongMediaType,), 415, ErrorCode.INVALID_INPUT, "The body is not JSON"),
    Kind((refusals.WrongHost,), 421, ErrorCode.INVALID_INPUT, "Another host was asked for"),
    Kind((Invalid, refusals.UsedKey), 422, ErrorCode.VALIDATION_ERROR, "Some fields are not valid"),
    Kind((refusals.OverQuota,), 429, ErrorCode.RATE_LIMIT_EXCEEDED, "Too many requests"),
    Kind(REFUSED, 422, ErrorCode.VALIDATION_ERROR, "A value cannot be stored"),
    Kind((refusals.Unavailable, *POSTGRES_OUTAGE), 503, ErrorCode.SERVICE_UNAVAILABLE, "Not available at the moment"),
)
CRASH: Final = Kind((Exception,), 500, ErrorCode.INTERNAL_ERROR, "Something went wrong in the server")
ROUTING: Final[Mapping[int, tuple[ErrorCode, str]]] = {
    404: (ErrorCode.NOT_FOUND, "there is nothing at this address"),
    405: (ErrorCode.INVALID_INPUT, "this address does not support this method; the header Allow lists those it supports"),
}
ADDRESSES: Final = "Look the address up at /schema."
ODD_ROW: Final = "the row was written by SQL and holds a value that no service can work with; `waggle audit --repair` corrects it"
OUTAGE_DETAIL: Final = "the database does not answer; the request may or may not have been carried out"
READ_OUTAGE_DETAIL: Final = "the database does not answer"
# By status: for a read, for a request with an Idempotency-Key, and for new tasks without one.
ADVISED: Final[Mapping[int, tuple[str, str, str]]] = {
    503: (
        "Wait as long as Retry-After says, then repeat the request; it has changed nothing.",
        "Wait as long as Retry-After says; repeat with the same Idempotency-Key.",
        "Wait as long as Retry-After says, then look whether the task is there; with an Idempotency-Key, a repeated request creates none twice.",
    ),
    500: (
        "Repeat the request, it has changed nothing; report the request id if it stays.",
        "Repeat with the same Idempotency-Key; report the request id if it stays.",
        "Look whether the task is there before you repeat the request; report the request id if it stays.",
    ),
}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, rename={**SEED_NAMES, "violated_policies": "violated-policies"}):
    """The body of an error."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    retryable: bool
    requires_user_input: bool
    request_id: str
    alternative_action: str | msgspec.UnsetType = msgspec.UNSET
    errors: list[FieldError] | None = None
    violated_policies: list[str] | None = None


_encode = msgspec.json.Encoder().encode


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to a request that failed, for Litestar. Also logs it."""
    status, body, headers = _answered(request.scope, error)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def response(scope: Any, error: Exception) -> EncodedResponse:
    """The same where Litestar is not reached."""
    status, body, headers = _answered(scope, error)
    return EncodedResponse(status, body, *((name.encode(), value.encode()) for name, value in headers.items()), content_type=MEDIA_TYPE.encode())


def _answered(scope: Any, error: Exception) -> tuple[int, bytes, dict[str, str]]:
    kind, detail, headers = classified(error)
    if detail == OUTAGE_DETAIL and scope["method"] == "GET":
        detail = READ_OUTAGE_DETAIL
    errors = error.errors if isinstance(error, Invalid | refusals.UsedKey) else None
    _log_problem(scope, kind, error)
    found = problem(kind, detail, scope["state"]["request_id"], errors)
    if isinstance(error, HTTPException) and kind.status == 404:
        found = msgspec.structs.replace(found, alternative_action=ADDRESSES)
    elif kind.status in ADVISED and (advice := _advice(scope, kind.status)):
        found = msgspec.structs.replace(found, alternative_action=advice)
    elif isinstance(error, refusals.OverQuota):
        found = msgspec.structs.replace(found, type=QUOTA_EXCEEDED, violated_policies=[error.policy])
    return kind.status, _encode(found), headers


def _advice(scope: Any, status: int) -> str | None:
    """What to do after an outage or a crash, where more can be said than for any request."""
    read, key, creates = ADVISED[status]
    if scope["method"] == "GET":
        return read
    if any(name == b"idempotency-key" for name, _ in scope["headers"]):
        return key
    return creates if scope["path"].endswith(("/tasks", "/tasks/batch")) else None


def problem(kind: Kind, detail: str, request_id: str, errors: list[FieldError] | None = None) -> Problem:
    """The body of an error of this kind."""
    recovery = RECOVERY[kind.code]
    return Problem(
        type=PAGE + kind.code,
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=kind.code,
        retryable=recovery.retryable,
        requires_user_input=recovery.requires_user_input,
        request_id=request_id,
        alternative_action=recovery.alternative_action,
        errors=errors,
    )


def classified(error: Exception) -> tuple[Kind, str, dict[str, str]]:
    """The kind of error, its detail for the caller, and the headers of the answer."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        code, detail = ROUTING.get(error.status_code, (ErrorCode.INVALID_INPUT, error.detail))
        headers = dict(error.headers or {})
        if "GET" in headers.get("allow", ""):  # HEAD is answered in front of the routes
            headers["allow"] = headers["allow"].replace("GET", "GET, HEAD")
        return Kind((), error.status_code, code, HTTPStatus(error.status_code).phrase), detail, headers
    kind = next((kind for kind in TABLE if isinstance(error, kind.errors)), CRASH)
    match kind.status:
        case 401 if isinstance(error, refusals.Unauthenticated):
            return kind, error.detail, {"www-authenticate": CHALLENGE}
        case 429 if isinstance(error, refusals.OverQuota):
            return kind, error.detail, {"retry-after": str(error.retry_after), **{name.decode(): value.decode() for name, value in error.headers}}
        case 403 if isinstance(error, refusals.Blocked):
            return kind, error.detail, {"retry-after": str(error.retry_after)}
        case 503 if isinstance(error, refusals.Unavailable):
            return kind, error.detail, {"retry-after": str(error.retry_after)}
        case 503:
            return kind, OUTAGE_DETAIL, {"retry-after": "2"}
        case 500:
            return kind, "the error was logged with this request_id", {}
        case _ if isinstance(error, refusals.Refusal | Invalid):
            return kind, error.detail, {}
        case 400:
            return kind, f"the body {error}", {}
    if isinstance(error, asyncpg.CheckViolationError) and (error.constraint_name or "").endswith("_fit"):
        return kind, ODD_ROW, {}
    return kind, f"the database refuses a value of this request: {_reason(error)}", {}


def _reason(error: Exception) -> str:
    """What Postgres says about a value, without the names of our tables and constraints."""
    return str(error.args[0]) if isinstance(error, asyncpg.DataError) and error.args else "it violates a rule of the schema"


def _log_problem(scope: Any, kind: Kind, error: Exception) -> None:
    """One line: a crash with its traceback, an outage as a warning, a refused request as information. Never logs values of fields. Counts who is nobody."""
    line = log.bind(status=kind.status, code=kind.code.value, method=scope["method"], route=scope.get("path_template", "unmatched"))
    if kind.status == 500:
        line.error("request crashed", exc_info=error)
    elif kind.status == 503:
        cause = error.__cause__ or error
        line.warning("request not served", error=str(cause) or type(cause).__name__)
    elif isinstance(error, refusals.Unauthenticated):
        metrics.AUTH_FAILURES.inc()
        line.info("request refused", error="Unauthenticated", why=error.why)
    elif isinstance(error, Invalid):
        line.info("request refused", fields=[found.field for found in error.errors[:5]], count=len(error.errors))
    else:
        line.info("request refused", error=type(error).__name__)
