"""Cursors of lists, opaque to callers: the id of the last item of a page, its place in the order of times, or the next place among a task's attempts."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

PLACE_BYTES: Final = 24
PLACE_LENGTH: Final = 32  # characters
STEP_BYTES: Final = 9
STEP_LIMIT: Final = 999_999_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
INVALID: Final = "is not a cursor: pass the next_cursor of the previous page"


def write(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def read(text: str) -> UUID:
    """Raises ValueError for anything that `write` did not make."""
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True) if len(text) == 22 else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 16:
        raise ValueError(INVALID)
    return UUID(bytes=raw)


def write_place(updated: datetime, task_id: UUID) -> str:
    """A place in the order of times, as a cursor."""
    micros = (updated - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(micros.to_bytes(8, signed=True) + task_id.bytes).decode()


def read_place(text: str) -> tuple[datetime, UUID]:
    """Raises ValueError."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
        if len(raw) != PLACE_BYTES:
            raise ValueError
        return _EPOCH + int.from_bytes(raw[:8], signed=True) * timedelta(microseconds=1), UUID(bytes=raw[8:])
    except (ValueError, OverflowError):
        raise ValueError(INVALID) from None


def write_step(attempt: int, skipped: int) -> str:
    """A place among the attempts of a task, as a cursor: an attempt, and how many of its items come before."""
    return base64.urlsafe_b64encode(attempt.to_bytes(5) + skipped.to_bytes(4)).decode()


def read_step(text: str) -> tuple[int, int]:
    """Raises ValueError."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != STEP_BYTES:
        raise ValueError(INVALID)
    return min(int.from_bytes(raw[:5]), STEP_LIMIT), min(int.from_bytes(raw[5:]), STEP_LIMIT)


def read_any(text: str) -> UUID | tuple[datetime, UUID]:
    """Either kind. Raises ValueError."""
    return read_place(text) if len(text) == PLACE_LENGTH else read(text)
