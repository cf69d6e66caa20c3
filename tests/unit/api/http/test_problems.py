"""Errors and their answers: the table is complete, the first row that fits counts, internals stay inside."""

import asyncpg
import pytest
from litestar.exceptions import MethodNotAllowedException, NotFoundException

from waggle.errors import ErrorCode
from waggle.field_errors import Invalid, Unreadable
from waggle_api import refusals
from waggle_api.http import bodies
from waggle_api.http.problems import classified
from waggle_api.refusals import WrongMediaType


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (refusals.Malformed("x"), 400, ErrorCode.INVALID_INPUT),
        (Unreadable(RecursionError()), 400, ErrorCode.INVALID_INPUT),
        (refusals.NotFound("x"), 404, ErrorCode.NOT_FOUND),
        (NotFoundException(), 404, ErrorCode.NOT_FOUND),
        (MethodNotAllowedException(), 405, ErrorCode.INVALID_INPUT),
        (refusals.Conflict("x"), 409, ErrorCode.INVALID_INPUT),
        (refusals.TooLarge("x"), 413, ErrorCode.INVALID_INPUT),
        (refusals.WrongMediaType("x"), 415, ErrorCode.INVALID_INPUT),
        (Invalid([]), 422, ErrorCode.VALIDATION_ERROR),
        (asyncpg.DataError("value out of range"), 422, ErrorCode.VALIDATION_ERROR),
        (asyncpg.CheckViolationError("violates check constraint"), 422, ErrorCode.VALIDATION_ERROR),
        (refusals.Unavailable("x"), 503, ErrorCode.SERVICE_UNAVAILABLE),
        (ConnectionRefusedError(), 503, ErrorCode.SERVICE_UNAVAILABLE),
        (TimeoutError(), 503, ErrorCode.SERVICE_UNAVAILABLE),
        (asyncpg.DeadlockDetectedError("x"), 503, ErrorCode.SERVICE_UNAVAILABLE),
        (asyncpg.UndefinedTableError("x"), 500, ErrorCode.INTERNAL_ERROR),
        (KeyError("secret"), 500, ErrorCode.INTERNAL_ERROR),
    ],
)
def test_each_error_has_its_answer(error: Exception, status: int, code: ErrorCode) -> None:
    kind, detail, headers = classified(error)
    assert (kind.status, kind.code) == (status, code)
    assert ("retry-after" in headers) == (status == 503)
    assert "secret" not in detail
    assert "constraint" not in detail


@pytest.mark.parametrize("value", [b"application/json", b"application/json; charset=utf-8", b'APPLICATION/JSON;charset="UTF-8"', b"application/json;"])
def test_json_in_utf_8_is_taken(value: bytes) -> None:
    bodies._check_json({b"content-type": value})


@pytest.mark.parametrize("value", [b"", b"text/plain", b"application/json; charset=latin-1", b"application/x-www-form-urlencoded", b"application/jsonp"])
def test_any_other_format_is_refused(value: bytes) -> None:
    with pytest.raises(WrongMediaType):
        bodies._check_json({b"content-type": value})
