"""Values that JSON writes in another form than the decoder asks for: `3.0` for a whole number, and multiples of a float that binary fractions miss. Pure.

A payload is read this way only after the strict decoder has refused it. Floats arrive as Decimal, so that a Decimal field gets every digit.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from sys import float_info
from typing import Any, Final, get_origin

import msgspec
from msgspec import inspect as mi

from waggle.payloads.relaxed import relaxed_fields
from waggle.payloads.schema import FrozenDict, bare, has_limited_items, is_array, is_tagged

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode

Conversion = Callable[[Any], Any]


def exact(number: str) -> Decimal:
    """A float of a JSON text with all its digits."""
    if abs(float(number)) == float("inf"):
        raise msgspec.ValidationError("Number out of range")
    return Decimal(number)


def rounded(number: str) -> Decimal:
    """A float of a JSON text; one that is a whole number as a double is that one, as the door sees it."""
    value, double = exact(number), float(number)
    return Decimal(double) if double.is_integer() else value


def whole(number: str) -> int | Decimal:
    """A float of a JSON text, as a whole number if it is one."""
    found: int | Decimal = _whole(exact(number))
    return found


def plain(value: Any) -> Any:
    """The value as JSON has it, with floats."""
    match value:
        case Decimal():
            return float(value)
        case list():
            return [plain(item) for item in value]
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case _:
            return value


def is_multiple(value: float, of: float) -> bool:
    """Whether a number is a multiple of another, as both are written."""
    return (Fraction(repr(value)) / Fraction(repr(of))).denominator == 1


class Conversions:
    """The conversions of the types of one payload."""

    def __init__(self) -> None:
        self.needs_look = False  # whether the strict decoder takes values that the schema refuses
        self._classes: dict[Any, Conversion] = {}

    def of(self, kind: mi.Type) -> Conversion:
        kind = bare(kind)
        match kind:
            case mi.IntType() | mi.LiteralType() | mi.EnumType():
                return _whole
            case mi.FloatType(multiple_of=multiple):
                self.needs_look = self.needs_look or multiple is not None
                return _float if multiple is None else partial(_multiple, of=multiple)
            case mi.DecimalType():
                return _same
            case mi.RawType():
                return _raw
            case mi.CollectionType(item_type=item):
                once = has_limited_items(kind)
                self.needs_look = self.needs_look or once
                return partial(_items, convert=self.of(item), once=once)
            case mi.TupleType(item_types=items):
                return partial(_places, converts=[self.of(item) for item in items])
            case mi.DictType(value_type=value) | FrozenDict(value_type=value):
                return partial(_values, convert=self.of(value))
            case mi.UnionType(types=types):
                return self._union([bare(one) for one in types])
            case mi.StructType() | mi.DataclassType() | mi.TypedDictType() | mi.NamedTupleType():
                return self._class(kind)
            case _:
                return plain

    def fields(self, kind: mi.StructType | mi.DataclassType | mi.TypedDictType) -> Conversion:
        """The conversion of an object with the fields of a class, to a dict."""
        tag = getattr(kind, "tag_field", None)
        return partial(_fields, converts={field.encode_name: self.of(field.type) for field in kind.fields} | ({} if tag is None else {tag: _whole}))

    def _class(self, kind: Any) -> Conversion:
        if kind.cls not in self._classes:
            self._classes[kind.cls] = partial(self._later, kind.cls)  # a class may hold itself
            looked_before, self.needs_look = self.needs_look, False
            convert = self._places(kind) if is_array(kind) else self.fields(kind)
            may_relax = self.needs_look and not isinstance(kind, mi.TypedDictType)
            hints = relaxed_fields(kind.cls) if may_relax else None
            self._classes[kind.cls] = convert if hints is None else partial(_built, convert=convert, kind=kind, loose=_loose(kind, hints))
            self.needs_look = self.needs_look or looked_before
        return self._classes[kind.cls]

    def _later(self, cls: Any, value: Any) -> Any:
        return self._classes[cls](value)

    def _places(self, kind: Any) -> Conversion:
        tag = [] if getattr(kind, "tag_field", None) is None else [_whole]
        return partial(_places, converts=[*tag, *[self.of(field.type) for field in kind.fields]])

    def _union(self, kinds: list[mi.Type]) -> Conversion:
        """By the kind of the JSON value; msgspec has at most one class for lists, and one for objects unless they have tags."""
        tagged: list[Any] = [one for one in kinds if is_tagged(one)]
        by_kind: dict[str, Conversion] = {}
        for one in sorted(kinds, key=lambda one: isinstance(one, mi.FloatType), reverse=True):
            by_kind.setdefault(_json_kind(one), self.of(one))
        if any(isinstance(one, mi.FloatType) for one in kinds) and not any(isinstance(one, mi.IntType) for one in kinds):
            by_kind["number"] = partial(_not_listed, convert=by_kind["number"], listed=_listed(kinds))
        tags = {one.tag: self.of(one) for one in tagged} if len(tagged) > 1 else {}
        return partial(_one_of, by_kind=by_kind, tag_field=tagged[0].tag_field if tags else None, tags=tags)


def _json_kind(kind: mi.Type) -> str:
    match kind:
        case mi.FloatType() | mi.DecimalType() | mi.IntType() | mi.LiteralType() | mi.EnumType():
            return "number"
        case mi.CollectionType() | mi.TupleType() | mi.NamedTupleType() | mi.StructType(array_like=True):
            return "array"
        case mi.DictType() | FrozenDict() | mi.StructType() | mi.DataclassType() | mi.TypedDictType():
            return "object"
        case _:
            return "other"


def _listed(kinds: list[mi.Type]) -> frozenset[Any]:
    """The values of literals and enums."""
    literals = [value for one in kinds if isinstance(one, mi.LiteralType) for value in one.values]
    return frozenset([*literals, *[member.value for one in kinds if isinstance(one, mi.EnumType) for member in one.cls]])


def _not_listed(value: Any, *, convert: Conversion, listed: frozenset[Any]) -> Any:
    """A number of a union of literals and floats: msgspec reads a whole number as a literal only."""
    number = convert(value)
    is_other = isinstance(number, int) and listed and number not in listed and abs(number) <= float_info.max
    return float(number) if is_other else number


def _one_of(value: Any, *, by_kind: dict[str, Conversion], tag_field: str | None, tags: dict[Any, Conversion]) -> Any:
    match value:
        case bool():
            return value
        case int() | Decimal():
            return by_kind.get("number", plain)(value)
        case list():
            return by_kind.get("array", plain)(value)
        case dict():
            tag = value.get(tag_field)
            found = tags.get(tag) if isinstance(tag, (str, int, Decimal)) else None
            return (found or by_kind.get("object", plain))(value)
        case _:
            return value


def _same(value: Any) -> Any:
    return value if isinstance(value, Decimal) else plain(value)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _whole(value: Any) -> Any:
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        double = float(value)  # such as 1e-400, which is zero
        return int(double) if double.is_integer() else double
    return plain(value)


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else plain(value)


def _multiple(value: Any, *, of: float) -> Any:
    number = _float(value)
    if isinstance(number, (int, float)) and not isinstance(number, bool) and not is_multiple(number, of):
        raise msgspec.ValidationError(f"Expected `float` that's a multiple of {of}")
    return number


def _items(value: Any, *, convert: Conversion, once: bool) -> Any:
    if not isinstance(value, list):
        return plain(value)
    if once and len({msgspec.json.encode(plain(item), order="sorted") for item in value}) < len(value):
        raise msgspec.ValidationError("Expected `array` with each item once")
    return [convert(item) for item in value]


def _places(value: Any, *, converts: list[Conversion]) -> Any:
    if not isinstance(value, list):
        return plain(value)
    return [converts[place](item) if place < len(converts) else plain(item) for place, item in enumerate(value)]


def _values(value: Any, *, convert: Conversion) -> Any:
    return {name: convert(item) for name, item in value.items()} if isinstance(value, dict) else plain(value)


def _fields(value: Any, *, converts: dict[str, Conversion]) -> Any:
    return {name: converts.get(name, plain)(item) for name, item in value.items()} if isinstance(value, dict) else plain(value)


def _loose(kind: Any, hints: dict[str, Any]) -> type[msgspec.Struct]:
    """A struct with the fields of a class, and their relaxed types."""
    return msgspec.defstruct(
        "Loose",
        [(field.name, hints[field.name], msgspec.NODEFAULT if field.required else msgspec.UNSET) for field in kind.fields],
        rename={field.name: field.encode_name for field in kind.fields},
        array_like=is_array(kind),
        tag_field=getattr(kind, "tag_field", None),
        tag=getattr(kind, "tag", None),
    )


def _built(value: Any, *, convert: Conversion, kind: Any, loose: type[msgspec.Struct]) -> Any:
    """An instance of a class, made by the class itself: msgspec would apply the rules that its fields have."""
    if not isinstance(value, (dict, list)):
        return plain(value)
    found = msgspec.convert(convert(value), loose, str_keys=True)
    given = {field.name: getattr(found, field.name) for field in kind.fields}
    cls = get_origin(kind.cls) or kind.cls
    return cls(**{name: one for name, one in given.items() if one is not msgspec.UNSET})
