"""Cursors of lists, opaque to callers: the id of the last item of a page."""

import base64
import binascii
from typing import Final
from uuid import UUID

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
