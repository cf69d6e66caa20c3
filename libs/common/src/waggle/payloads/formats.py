"""The formats of our schemas, each checked by the decoder that reads it: a text fits a format exactly if msgspec reads it. Pure."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

_KINDS: Final[Mapping[str, Any]] = {
    "date-time": Annotated[datetime, Meta(tz=True)],
    "date-time-local": Annotated[datetime, Meta(tz=False)],
    "iso-date-time": datetime,  # with an offset or without
    "time": Annotated[time, Meta(tz=True)],
    "time-local": Annotated[time, Meta(tz=False)],
    "iso-time": time,
    "date": date,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
    "byte": bytes,  # base64
}
_KEYS: Final[Mapping[str, Any]] = {"float-key": dict[float, Any], "decimal-key": dict[Decimal, Any]}


def moment(kind: str, tz: bool | None) -> str:
    """The format of a `date-time` or a `time`: with an offset, without one, or either."""
    return kind if tz else f"iso-{kind}" if tz is None else f"{kind}-local"


def byte_count(text: str) -> int:
    """How many bytes a base64 text holds."""
    return len(text) // 4 * 3 - text.count("=")


def _reader(kind: Any, wrapped: Callable[[str], Any]) -> Callable[[str], bool]:
    one = msgspec.defstruct("One", [("value", kind)], array_like=True)  # unlike a bare type, a struct is prepared once

    def reads(text: str) -> bool:
        try:
            msgspec.convert((wrapped(text),), one, str_keys=True)
        except (msgspec.ValidationError, TypeError):  # a signalling NaN cannot be a key
            return False
        return True

    return reads


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    **{name: _reader(kind, lambda text: text) for name, kind in _KINDS.items()},
    **{name: _reader(kind, lambda text: {text: None}) for name, kind in _KEYS.items()},
}
