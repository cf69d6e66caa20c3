"""From what a handler did to an outcome: its return value as JSON, its exception as an error."""

import traceback
from types import TracebackType
from typing import Any, Final

import msgspec

from waggle import json_text, models, nesting, secret_fields
from waggle.context import BreakerOpen, Reject, Retry, Snooze
from waggle.errors import MESSAGE_LIMIT, ErrorCode, TaskError, storable
from waggle.task import RESULT_LIMIT, AttemptOutcome, Done, Failed, Outcome, Snoozed

TRACE_LIMIT: Final = MESSAGE_LIMIT
DETAILS_LIMIT: Final = 64 << 10  # bytes
GIVEN_BACK: Final = Snoozed(0.0, AttemptOutcome.GIVEN_BACK)  # to be run again at once, without cost
NOTHING: Final = Done(None)  # a handler that returned None
WAGGLES: Final = frozenset({"waggle_worker.layers", "waggle_worker.execution", "waggle.forked"})
_encode: Final = msgspec.json.Encoder(enc_hook=models.encoded).encode


def of_result(value: Any) -> Outcome:
    """The outcome of a return value: any JSON up to 1 MiB. Other values fail without a retry."""
    if value is None:
        return NOTHING
    try:
        text = json_text.encode(value)
        nesting.check(text)
    except Exception as error:  # whatever the value's own conversion raises
        return _broken(f"the result is not JSON: {type(error).__name__}: {text_of(error)}")
    if len(text) > RESULT_LIMIT:
        return _broken(f"the result has {len(text)} bytes; the limit is {RESULT_LIMIT}")
    return Done(text.decode())


def of_exception(error: BaseException) -> Outcome:
    """The outcome of an exception: what the handler asked for, or a failed try.

    Of a group, which an `asyncio.TaskGroup` raises, the strongest decides: a Reject, then any other failure, a Retry, and only then the longest Snooze.
    """
    found = leaves(error)
    match min(found, key=_strength):
        case BreakerOpen(delay=delay) as refused_:
            why = TaskError(ErrorCode.SERVICE_UNAVAILABLE, storable(str(refused_)), retryable=True, details={"breaker": refused_.name})
            return Snoozed(delay, error=why)
        case Snooze(delay=delay):
            return Snoozed(delay)
        case Reject(reason=reason, code=code, details=details):
            return Failed(_asked_for(reason, code, details, retryable=False))
        case Retry(after=after, reason=reason, code=code, details=details):
            return Failed(_asked_for(reason, code, details, retryable=True), after)
        case failure:
            kind, message = type(failure).__name__, text_of(failure)
            trace = "".join(traceback.format_exception(type(error), error, _users(error.__traceback__)))
            details = {"exception": storable(kind), "traceback": storable(trace[-TRACE_LIMIT:])}
            text = storable(f"{kind}: {message}" if message else kind)
            return Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, text, retryable=True, details=details), _longest_wait(found))


def _users(frames: TracebackType | None) -> TracebackType | None:
    """Without the first frames, which are Waggle's, where others follow."""
    found = frames
    while found is not None and found.tb_frame.f_globals.get("__name__") in WAGGLES:
        found = found.tb_next
    return found or frames


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, and of the groups in it, in their order; of another exception itself."""
    found, left = [], [error]
    while left:
        part = left.pop()
        if isinstance(part, BaseExceptionGroup):
            left.extend(reversed(part.exceptions))
        else:
            found.append(part)
    return found


def _strength(error: BaseException) -> tuple[int, float]:
    """The smaller, the stronger; among Snoozes and among Retries, the longest wait."""
    match error:
        case Reject():
            return 0, 0.0
        case Snooze(delay=delay):
            return 3, -delay
        case Retry(after=after):
            return 2, -(after or 0.0)
        case _:
            return 1, 0.0


def _longest_wait(errors: list[BaseException]) -> float | None:
    return max([error.after for error in errors if isinstance(error, Retry) and error.after is not None], default=None)


def misfit(error: Exception) -> Outcome:
    """The payload does not fit the handler's parameters: it fails without a retry."""
    return Failed(TaskError(ErrorCode.VALIDATION_ERROR, storable(f"the payload does not fit: {text_of(error)}"), retryable=False), misfit=True)


def without_secrets(outcome: Outcome, payload: str, schema: dict[str, Any]) -> Outcome:
    """An outcome whose error shows no hidden value of the payload."""
    match outcome:
        case Failed(error=error) | Snoozed(error=TaskError() as error):
            try:
                secrets = secret_fields.hidden(payload, schema)
            except (msgspec.DecodeError, RecursionError):  # inserted by SQL: it fits no schema
                return outcome
            return msgspec.structs.replace(outcome, error=_masked(error, secrets)) if secrets else outcome
        case _:
            return outcome


def text_without_secrets(text: str, payload: str, schema: dict[str, Any]) -> str:
    """A JSON text that shows no hidden value of the payload."""
    try:
        secrets = secret_fields.hidden(payload, schema)
    except (msgspec.DecodeError, RecursionError):  # inserted by SQL: it fits no schema
        return text
    return _encode(_mapped(msgspec.json.decode(text), secrets)).decode() if secrets else text


def _masked(error: TaskError, secrets: list[str]) -> TaskError:
    details = None if error.details is None else _mapped(error.details, secrets)
    return msgspec.structs.replace(error, message=secret_fields.without(error.message, secrets), details=details)


def _mapped(value: Any, secrets: list[str]) -> Any:
    match value:
        case str():
            return secret_fields.without(value, secrets)
        case list():
            return [_mapped(item, secrets) for item in value]
        case dict():
            return {secret_fields.without(key, secrets): _mapped(item, secrets) for key, item in value.items()}
        case _:
            return value


def timeout(seconds: float) -> Outcome:
    return Failed(TaskError(ErrorCode.TASK_TIMEOUT, f"took longer than its timeout of {seconds:g} s", retryable=True))


def refused(error: Exception) -> Outcome:
    """Postgres refused to store the outcome."""
    return Failed(TaskError(ErrorCode.INTERNAL_ERROR, storable(f"the outcome could not be stored: {error}"), retryable=False))


def text_of(reason: object) -> str:
    """The text of an exception or a reason. A user's own class may raise here, and the run must still end."""
    try:
        return str(reason)
    except Exception as error:
        return f"(no text: {type(error).__name__})"


def _asked_for(reason: object, code: object, details: object, *, retryable: bool) -> TaskError:
    """The error of a Reject or a Retry. A handler may pass anything; the result can be stored and read again."""
    known = ErrorCode(code) if isinstance(code, str) and code in set(ErrorCode) else ErrorCode.TASK_EXECUTION_FAILED
    return TaskError(known, storable(text_of(reason)), retryable=retryable, details=None if details is None else _details(details))


def _details(details: object) -> dict[str, Any]:
    """A JSON object that Postgres accepts; for anything else, why it was left out."""
    try:
        text = json_text.encode(details)
        if len(text) > DETAILS_LIMIT:
            return {"details_dropped": f"they have {len(text)} bytes; the limit is {DETAILS_LIMIT}"}
        nesting.check(text)
        found = msgspec.json.decode(text, type=dict[str, Any])
        kept: dict[str, Any] = _without_nul(found) if rb"\u0000" in text else found
    except Exception as error:  # whatever a value's own conversion raises
        return {"details_dropped": storable(f"{type(error).__name__}: {text_of(error)}")}
    return kept


def _without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [_without_nul(item) for item in value]
        case dict():
            return {_without_nul(key): _without_nul(item) for key, item in value.items()}
        case _:
            return value


def _broken(message: str) -> Outcome:
    return Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, storable(message), retryable=False))
