"""Reads payloads: takes what their schema says, and raises ValidationError for anything else.

The strict decoder comes first. What it refuses is looked at again, because JSON may write a value in another form (see `lenient`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

from waggle import models, nesting
from waggle.payloads import closed, lenient
from waggle.payloads.relaxed import relaxed
from waggle.payloads.schema import of_payload

Fields = Sequence[tuple[str, Any, Any]]  # name, type and default, as `msgspec.defstruct` takes them

_asdict: Final = msgspec.structs.asdict
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Payload:
    """The payload of a task type: an object with these fields, or with any others beside them if it `is_open`, but no `reserved` ones."""

    def __init__(self, name: str, fields: Fields, *, is_open: bool = False, reserved: Iterable[str] = ()) -> None:
        payload = _struct(name, fields, is_open)
        self._is_open, self._is_any = is_open, is_open and not fields
        self._reserved = frozenset(reserved) - {field for field, _, _ in fields}
        self.schema = of_payload(payload, sorted(self._reserved))
        self._closed = closed.checker(payload)
        conversions = lenient.Conversions()
        info = mi.type_info(payload)
        assert isinstance(info, mi.StructType)
        self._conversion = conversions.fields(info)
        self._type = _struct(name, [(field, relaxed(hint), default) for field, hint, default in fields], is_open)
        self._read = self._leniently if conversions.needs_look else msgspec.json.Decoder(payload, dec_hook=models.decoded).decode
        self._any = msgspec.json.Decoder(dict[str, Any]).decode

    def arguments(self, text: str) -> dict[str, Any]:
        """The values of the fields. Raises msgspec.ValidationError when the payload does not fit, TooDeep when it is nested too deeply."""
        if len(text) > 2 * nesting.LEVELS:  # only what was inserted by SQL can be too deep
            nesting.check(text.encode())
        if self._is_any:
            return self._others(text)
        try:
            found = self._read(text)
            if self._closed is not None:
                self._closed(text)
        except msgspec.ValidationError:
            found = self._leniently(text)
        arguments = _asdict(found)
        return {**self._others(text), **arguments} if self._is_open else arguments

    def _others(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = self._any(text)
        if not self._reserved.isdisjoint(found):
            taken = min(self._reserved & found.keys())
            raise msgspec.ValidationError(f"Object contains unknown field `{taken}`: that is a parameter of the handler's own")
        return found

    def _leniently(self, text: str) -> Any:
        if self._closed is not None:  # of a repeated field only the last value counts
            self._closed(_encode(msgspec.json.Decoder(float_hook=lenient.whole).decode(text)))
        refused: msgspec.ValidationError | None = None
        for number in (lenient.exact, lenient.rounded):
            value = msgspec.json.Decoder(float_hook=number).decode(text)
            try:
                return msgspec.convert(self._conversion(value), self._type, str_keys=True, dec_hook=models.decoded)
            except msgspec.ValidationError as error:
                refused = refused or error
        assert refused is not None
        raise refused


def _struct(name: str, fields: Fields, is_open: bool) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=not is_open)
