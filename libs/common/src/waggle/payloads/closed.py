"""Finds fields that no class knows, at any depth: msgspec passes over those of dataclasses and of most other classes in silence. Pure.

For each class there is a twin, a struct with the same fields, any value in them, and no others. Decoding a payload as twins costs less than decoding it.
"""

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

from waggle.payloads.schema import FrozenDict, bare, is_array

_ANY: Final = "Raw"
_SCALARS: Final = "str | int | float | bool | None"


def checker(payload: type[msgspec.Struct]) -> Callable[[str | bytes], object] | None:
    """What raises ValidationError for a text with an unknown field in a class; None if decoding itself finds them all."""
    twins = _Twins()
    info = mi.type_info(payload)
    assert isinstance(info, mi.StructType)
    twin = twins.struct(info, is_closed=False)
    return msgspec.json.Decoder(twin).decode if twins.needed else None


class _Twins:
    """The twins of one payload. They refer to each other by name, because classes may be recursive."""

    def __init__(self) -> None:
        self.needed = False
        self._names: dict[Any, str] = {}
        self._scope = {"twins": SimpleNamespace(), "Raw": msgspec.Raw}

    def struct(self, kind: Any, *, is_closed: bool) -> type[msgspec.Struct]:
        fields = [(f"field{place}", self._of(field.type) or _ANY, None) for place, field in enumerate(kind.fields)]
        return msgspec.defstruct(
            "Twin",
            fields,
            namespace=dict(self._scope),
            rename={f"field{place}": field.encode_name for place, field in enumerate(kind.fields)},
            forbid_unknown_fields=is_closed,
            array_like=is_array(kind),
            tag_field=getattr(kind, "tag_field", None),
            tag=getattr(kind, "tag", None),
        )

    def _of(self, kind: mi.Type) -> str | None:
        """The type of the twins in a type; None if it holds no class."""
        match bare(kind):
            case mi.StructType() | mi.DataclassType() | mi.TypedDictType() | mi.NamedTupleType() as found:
                return self._class(found)
            case mi.CollectionType(item_type=item):
                twin = self._of(item)
                return twin and f"list[{twin}]"
            case mi.TupleType(item_types=items):
                twins = [self._of(item) for item in items]
                return f"tuple[{', '.join([twin or _ANY for twin in twins])}]" if any(twins) else None
            case mi.DictType(value_type=value) | FrozenDict(value_type=value):
                twin = self._of(value)
                return twin and f"dict[str, {twin}]"
            case mi.UnionType(types=types):
                return self._union([bare(one) for one in types])
            case _:
                return None

    def _union(self, kinds: list[mi.Type]) -> str | None:
        twins = {self._of(one): one for one in kinds}
        if twins.keys() == {None}:
            return None
        has_list = any(isinstance(one, (mi.CollectionType, mi.TupleType)) and self._of(one) is None for one in kinds)
        return " | ".join([*[twin for twin in twins if twin], *(["list"] if has_list else []), _SCALARS])

    def _class(self, kind: Any) -> str:
        name = self._names.get(kind.cls)
        if name is None:
            name = self._names[kind.cls] = f"twin{len(self._names)}"
            self.needed = self.needed or not (is_array(kind) or getattr(kind, "forbid_unknown_fields", False))
            twin = self._tuple(kind) if isinstance(kind, mi.NamedTupleType) else self.struct(kind, is_closed=not is_array(kind))
            setattr(self._scope["twins"], name, twin)
        return f"twins.{name}"

    def _tuple(self, kind: mi.NamedTupleType) -> type:
        names = [f"field{place}" for place in range(len(kind.fields))]
        twin = namedtuple("Twin", names, defaults=[None] * len(names))  # type: ignore[misc]  # its types are not known before
        twin.__annotations__ = {name: self._of(field.type) or _ANY for name, field in zip(names, kind.fields, strict=True)}
        for name, value in self._scope.items():
            setattr(twin, name, value)
        return twin
