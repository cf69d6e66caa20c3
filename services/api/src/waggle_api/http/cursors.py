"""Cursors of lists, opaque to callers: the id of the last item of a page, or its place in the order of times."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

PLACE_BYTES: Final = 24
PLACE_LENGTH: Final = 32  # characters
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


def read_any(text: str) -> UUID | tuple[datetime, UUID]:
    """Either kind. Raises ValueError."""
    return read_place(text) if len(text) == PLACE_LENGTH else read(text)
