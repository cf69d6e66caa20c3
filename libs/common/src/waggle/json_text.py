"""JSON of values that users hand over. What JSON cannot say is refused: msgspec writes null for a float that is no number, or infinite. Pure."""

import math
from typing import Any, Final

import msgspec

from waggle import models

_encode: Final = msgspec.json.Encoder(enc_hook=models.encoded).encode


def encode(value: Any) -> bytes:
    """The value as JSON. Raises ValueError for a float that is not finite, else what msgspec or the value's own conversion raises."""
    text = _encode(value)
    if b"null" in text and (found := _not_finite(msgspec.to_builtins(value, enc_hook=_plain))) is not None:
        raise ValueError(f"JSON has no {found}")
    return text


def _not_finite(value: Any) -> float | None:
    """The first float in a value of plain types that is not finite."""
    left = [value]
    while left:
        match left.pop():
            case float() as number if not math.isfinite(number):
                return number
            case list() | tuple() | set() | frozenset() as items:
                left.extend(items)
            case dict() as items:
                left.extend(items.values())
    return None


def _plain(value: Any) -> Any:
    """A model's values. A `msgspec.Raw` is JSON already; nothing else gets here."""
    return models.encoded(value) if models.is_model(type(value)) else None
