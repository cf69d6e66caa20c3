"""The JSON Schema of a payload: everything that the decoder asks for, also what `msgspec.json.schema` leaves out. Pure.

Beyond JSON Schema it has keywords that others ignore: `minBytes` and `maxBytes` of a base64 text; `parsedAs`, the schema of what a text holds as JSON,
such as the number that is a key; and `pythonPattern`, a pattern as Python reads it, where `pattern` says it in other words or cannot say it.
"""

import re
import textwrap
from collections.abc import Iterable
from sys import float_info
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

from waggle import models
from waggle.payloads import formats
from waggle.payloads.patterns import Untranslatable, portable

Schema = dict[str, Any]

INTEGER_KEY: Final = "^(0|-?[1-9][0-9]*|-0)$"
DOUBLE: Final = {"minimum": -float_info.max, "maximum": float_info.max}  # JSON has larger numbers than a double holds
_BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf"}
FrozenDict: Final = getattr(mi, "FrozenDictType", mi.DictType)  # since msgspec 0.22
_OBJECTS: Final = (mi.StructType, mi.DataclassType, mi.TypedDictType)
_DEFINED: Final = (*_OBJECTS, mi.NamedTupleType, mi.EnumType)
_TEXTS: Final = {mi.DateType: "date", mi.TimeDeltaType: "duration", mi.UUIDType: "uuid"}


def of_payload(payload: type[msgspec.Struct], reserved: Iterable[str] = ()) -> Schema:
    """The schema of a payload's struct. `reserved` are the names of fields that no payload may have."""
    writer = _Writer()
    info = mi.type_info(payload)
    assert isinstance(info, mi.StructType)
    schema = writer.fields(info, is_closed=info.forbid_unknown_fields)
    schema["properties"] |= dict.fromkeys(reserved, False)
    return {**schema, "$defs": writer.definitions} if writer.definitions else schema


class _Writer:
    """Writes schemas; classes become definitions."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def of(self, kind: mi.Type) -> Schema:
        if isinstance(kind, mi.Metadata):
            return {**(kind.extra_json_schema or {}), **self.of(kind.type)}
        if isinstance(kind, _DEFINED):
            return {"$ref": f"#/$defs/{self._name(kind)}"}
        match kind:
            case mi.NoneType():
                return {"type": "null"}
            case mi.BoolType():
                return {"type": "boolean"}
            case mi.IntType() | mi.FloatType():
                return _number(kind)
            case mi.LiteralType(values=values):
                return {"enum": list(values)}
            case mi.CollectionType() | mi.TupleType():
                return self._array(kind)
            case mi.DictType() | FrozenDict():
                return self._mapping(kind)
            case mi.UnionType():
                return self._union(kind)
            case mi.AnyType() | mi.RawType():
                return {}
            case mi.CustomType() | mi.ExtType():
                return self._custom(kind)
            case _:
                return _text(kind)

    def _custom(self, kind: mi.Type) -> Schema:
        found = getattr(kind, "cls", "msgspec.msgpack.Ext")
        if not models.is_model(found):
            raise TypeError(f"{found!r} cannot be read from JSON; use {models.READABLE}, or declare a resource that yields it")
        own, definitions = models.schema(found)
        self.definitions |= definitions
        return own

    def fields(self, kind: Any, *, is_closed: bool) -> Schema:
        """An object with the fields of a class."""
        properties = {field.encode_name: self._field(field) for field in kind.fields}
        required = [field.encode_name for field in kind.fields if field.required]
        if getattr(kind, "tag_field", None) is not None:
            properties = {kind.tag_field: {"enum": [kind.tag]}, **properties}
        return {"type": "object", "properties": properties, "required": required, **({"additionalProperties": False} if is_closed else {})}

    def _name(self, kind: Any) -> str:
        name = self._names.get(kind.cls)
        if name is None:
            name = re.sub(r"[^a-zA-Z0-9.\-_]", "_", _class_name(kind.cls))
            if name in self._names.values():
                name = re.sub(r"[^a-zA-Z0-9.\-_]", "_", f"{kind.cls.__module__}.{kind.cls.__qualname__}")
            self._names[kind.cls] = name
            self.definitions[name] = {}
            self.definitions[name] = self._definition(kind)
        return name

    def _definition(self, kind: Any) -> Schema:
        about = {"title": _class_name(kind.cls)} | ({"description": doc} if (doc := _doc(kind.cls)) else {})
        match kind:
            case mi.EnumType():
                return {**about, "enum": sorted([member.value for member in kind.cls])}
            case mi.NamedTupleType():
                return {**about, **self._items(kind, [], most=len(kind.fields))}
            case mi.StructType(array_like=True):
                tag = [] if kind.tag_field is None else [{"enum": [kind.tag]}]
                return {**about, **self._items(kind, tag, most=len(tag) + len(kind.fields) if kind.forbid_unknown_fields else None)}
            case _:
                return {**about, **self.fields(kind, is_closed=True)}

    def _field(self, field: mi.Field) -> Schema:
        schema = self.of(field.type)
        if field.default is not msgspec.NODEFAULT:
            return {**schema, "default": msgspec.to_builtins(field.default, str_keys=True)}
        if field.default_factory in (list, dict, set, bytearray):
            return {**schema, "default": msgspec.to_builtins(field.default_factory())}
        return schema

    def _items(self, kind: Any, before: list[Schema], most: int | None) -> Schema:
        """An array with the fields of a class."""
        fewest = len(before) + max([place for place, field in enumerate(kind.fields, 1) if field.required], default=0)
        schema = {"type": "array", "prefixItems": [*before, *map(self._field, kind.fields)], "minItems": fewest}
        return schema if most is None else {**schema, "maxItems": most}

    def _array(self, kind: Any) -> Schema:
        if isinstance(kind, mi.TupleType):
            count = len(kind.item_types)
            items = {"prefixItems": [self.of(item) for item in kind.item_types], "items": False} if count else {}
            return {"type": "array", **items, "minItems": count, "maxItems": count}
        items = {} if isinstance(kind.item_type, mi.AnyType) else {"items": self.of(kind.item_type)}
        if isinstance(kind, (mi.SetType, mi.FrozenSetType)):
            if (odd := _unhashable(kind.item_type)) is not None:
                raise TypeError(f"a set cannot hold {odd}: Python cannot hash it; take a list, or a class that is frozen")
            items = items or {"items": {"type": ["string", "number", "boolean", "null"]}}
        unique = {"uniqueItems": True} if has_limited_items(kind) else {}
        return {"type": "array", **items, **_limits(kind, "Items"), **unique}

    def _mapping(self, kind: Any) -> Schema:
        keys = self._keys(kind.key_type)
        schema: Schema = {"type": "object"}
        if keys is not None and keys != {}:
            schema["propertyNames"] = keys
        if not isinstance(kind.value_type, mi.AnyType):
            schema["additionalProperties"] = self.of(kind.value_type)
        return {**schema, **_limits(kind, "Properties")}

    def _keys(self, kind: mi.Type) -> Any:
        """What the texts of keys must be; None if they may be any."""
        match kind:
            case mi.Metadata(type=inner):
                keys = self._keys(inner)
                return keys if keys is None or keys is False else {**(kind.extra_json_schema or {}), **keys}
            case mi.AnyType():
                return None
            case mi.UnionType(types=types):
                several = [self._keys(one) for one in types]
                readable = [keys for keys in several if keys is not False]
                return None if None in several or {} in several else readable[0] if len(readable) == 1 else {"anyOf": readable} if readable else False
            case mi.IntType():
                return {"pattern": INTEGER_KEY, **_parsed(kind)}
            case mi.FloatType():
                return {"format": "float-key", **_parsed(kind)}
            case mi.DecimalType():
                return {"format": "decimal-key"}
            case mi.LiteralType(values=values):
                return {"enum": [str(value) for value in values if value is not None]}
            case mi.EnumType(cls=cls):
                return {"enum": sorted([str(member.value) for member in cls])}
            case mi.StrType() | mi.BytesType() | mi.DateTimeType() | mi.TimeType() | mi.DateType() | mi.TimeDeltaType() | mi.UUIDType():
                return {name: value for name, value in _text(kind).items() if name != "type"}
            case _:
                return False

    def _union(self, kind: mi.UnionType) -> Schema:
        members = sorted(kind.types, key=lambda one: isinstance(bare(one), mi.NoneType))
        tagged = [one for one in members if is_tagged(bare(one))]
        options = [self.of(one) for one in members if len(tagged) < 2 or one not in tagged]
        if any(isinstance(bare(one), mi.FloatType) for one in members):  # every number is a float there
            options = [{**option, "type": "string"} if option.get("format") == "decimal" else option for option in options]
        if len(tagged) < 2:
            return {"anyOf": options}
        structs: Any = [bare(one) for one in tagged]
        tag = structs[0].tag_field
        choice: Schema = {
            "anyOf": [{**self.of(one), "required": [tag]} for one in tagged],
            "discriminator": {"propertyName": tag, "mapping": {struct.tag: f"#/$defs/{self._name(struct)}" for struct in structs}},
        }
        return {"anyOf": [choice, *options]} if options else choice


def bare(kind: mi.Type) -> mi.Type:
    """A type without its metadata."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    return kind


def is_array(kind: Any) -> bool:
    """Whether it is a class whose fields are the items of a list."""
    return isinstance(kind, mi.NamedTupleType) or getattr(kind, "array_like", False)


def is_tagged(kind: mi.Type) -> bool:
    """Whether it is a struct that a field tells from others."""
    return isinstance(kind, mi.StructType) and kind.tag_field is not None and not kind.array_like


def has_limited_items(kind: mi.Type) -> bool:
    """Whether it is a set with a limited length: each item is sent once then, so that both sides count the same."""
    return isinstance(kind, (mi.SetType, mi.FrozenSetType)) and (kind.max_length is not None or (kind.min_length or 0) > 1)


def _unhashable(kind: mi.Type) -> str | None:
    """What in a type no set can hold, in words; None if there is nothing."""
    match bare(kind):
        case mi.ListType() | mi.SetType() | mi.DictType() | mi.TypedDictType() | mi.ByteArrayType() | mi.MemoryViewType():
            return "lists, sets or dicts"
        case mi.VarTupleType(item_type=item) | mi.FrozenSetType(item_type=item):
            return _unhashable(item)
        case mi.TupleType(item_types=types) | mi.UnionType(types=types):
            return next((odd for one in types if (odd := _unhashable(one)) is not None), None)
        case mi.StructType(cls=cls):
            config = getattr(cls, "__origin__", cls).__struct_config__
            return None if config.frozen or not config.eq else repr(cls)
        case mi.DataclassType(cls=cls):
            return None if getattr(cls, "__origin__", cls).__hash__ is not None else repr(cls)
        case _:
            return None


def _number(kind: mi.IntType | mi.FloatType) -> Schema:
    bounds = _bounds(kind)
    if isinstance(kind, mi.IntType):
        return {"type": "integer", **bounds}
    free = [keyword for keyword in DOUBLE if keyword not in bounds and f"exclusive{keyword.title()}" not in bounds]
    return {"type": "number", **bounds, **{keyword: DOUBLE[keyword] for keyword in free}}


def _bounds(kind: mi.IntType | mi.FloatType) -> Schema:
    return {keyword: bound for name, keyword in _BOUNDS.items() if (bound := getattr(kind, name)) is not None}


def _text(kind: Any) -> Schema:
    match kind:
        case mi.StrType(pattern=pattern):
            return {"type": "string", **_limits(kind, "Length"), **({} if pattern is None else _pattern(pattern))}
        case mi.BytesType() | mi.ByteArrayType() | mi.MemoryViewType():
            lengths = {f"{end}Length": 4 * ((count + 2) // 3) for end in ("min", "max") if (count := getattr(kind, f"{end}_length")) is not None}
            return {"type": "string", "format": "byte", "contentEncoding": "base64", **lengths, **_limits(kind, "Bytes")}
        case mi.DateTimeType(tz=tz):
            return {"type": "string", "format": formats.moment("date-time", tz)}
        case mi.TimeType(tz=tz):
            return {"type": "string", "format": formats.moment("time", tz)}
        case mi.DecimalType():
            return {"type": ["string", "number"], "format": "decimal"}
        case _:
            return {"type": "string", "format": _TEXTS[type(kind)]}


def _pattern(pattern: str) -> Schema:
    try:
        translated = portable(pattern)
    except Untranslatable:
        return {"pythonPattern": pattern}
    return {"pattern": pattern} if translated == pattern else {"pattern": translated, "pythonPattern": pattern}


def _limits(kind: Any, what: str) -> Schema:
    return {f"{end}{what}": count for end in ("min", "max") if (count := getattr(kind, f"{end}_length")) is not None}


def _parsed(kind: mi.IntType | mi.FloatType) -> Schema:
    """What the number in a text must be, if it has bounds."""
    bounds = _bounds(kind)
    return {"parsedAs": bounds} if bounds else {}


def _class_name(cls: Any) -> str:
    if not hasattr(cls, "__origin__"):
        return str(cls.__name__)
    return f"{cls.__origin__.__name__}[{', '.join([getattr(one, '__name__', None) or repr(one) for one in cls.__args__])}]"


def _doc(cls: Any) -> str:
    """The docstring that somebody wrote, not one that was made."""
    plain = getattr(cls, "__origin__", cls)
    doc = textwrap.dedent(plain.__doc__ or "").strip("\r\n")
    is_made = doc == "An enumeration." or (doc.startswith(f"{plain.__name__}(") and doc.endswith(")"))
    return "" if is_made else doc
