"""The named JSON Schemas of structs and enumerations: what msgspec generates, completed with what it leaves out."""

import inspect
import re
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any, Final, get_args

import msgspec

Json = dict[str, Any]

REF: Final = "#/components/schemas/"
PUBLIC_NAMES: Final = {  # the public names of types that have another name in the code
    "Status": "TaskStatus",
    "Priority": "TaskPriority",
    "ShownError": "TaskError",
    "TypeInfo": "TaskType",
    "ShownBackoff": "TaskBackoff",
    "WorkerInfo": "Worker",
    "ManagedKey": "ApiKey",
    "MadeKey": "NewApiKey",
    "SharedBreaker": "Breaker",
    "State": "BreakerState",
    "HealthReport": "Health",
}


class Schemas:
    """The schemas of the given types and of everything in them: closed for bodies of requests; without null for answers, which leave out absent fields."""

    def __init__(self, types: list[Any]) -> None:
        refs, components = msgspec.json.schema_components(types, ref_template=REF + "{name}")
        for kind in _within(types, set()):
            _complete(kind, components[kind.__name__])
        for schema in components.values():
            if schema.get("type") == "object" and "additionalProperties" not in schema:
                schema["properties"] = {name: _never_null(shown) for name, shown in schema["properties"].items()}
        self._refs = dict(zip(map(repr, types), map(_renamed, refs), strict=True))
        self.components: dict[str, Json] = {_name(name): {**_renamed(schema), "title": _name(name)} for name, schema in components.items()}

    def of(self, kind: Any) -> Json:
        """A reference to the schema of one of the given types; for a list of them, a schema that allows each."""
        if isinstance(kind, list):
            return {"anyOf": [self.of(one) for one in kind]}
        return self._refs[repr(kind)]


def _within(types: Iterable[Any], seen: set[type]) -> set[type]:
    """Every struct and enumeration in the given types."""
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct | Enum) and kind not in seen:
            seen.add(kind)
            if issubclass(kind, msgspec.Struct):
                _within([field.type for field in msgspec.structs.fields(kind)], seen)
        _within(get_args(kind), seen)
    return seen


def _complete(kind: type, schema: Json) -> None:
    """Complete the order and names of an enumeration, the format of times, and the required fields that have a default."""
    schema["description"] = inspect.cleandoc(schema.get("description", ""))
    if issubclass(kind, Enum):
        schema |= {"type": "integer" if issubclass(kind, int) else "string", "enum": [one.value for one in kind], "x-enum-varnames": [one.name for one in kind]}
        return
    assert issubclass(kind, msgspec.Struct)
    fields = msgspec.structs.fields(kind)
    for field in fields:
        shown = schema["properties"][field.encode_name]
        for place in (shown, *shown.get("anyOf", [])):
            if place.get("type") == "string" and datetime in (field.type, *get_args(field.type)):
                place["format"] = "date-time"
            if place.get("type") == "object":
                place.setdefault("additionalProperties", True)
        if shown.get("default", "") is None:
            del shown["default"]
    config = kind.__struct_config__
    if not config.omit_defaults and not config.forbid_unknown_fields:
        schema["required"] = [field.encode_name for field in fields if field.default is not msgspec.UNSET]


def _never_null(shown: Json) -> Json:
    """The schema of a field of an answer, which is absent instead of null."""
    kinds = [kind for kind in shown.get("anyOf", []) if kind != {"type": "null"}]
    rest = {key: value for key, value in shown.items() if key != "anyOf"}
    return {**rest, **kinds[0]} if len(kinds) == 1 else {**shown, "anyOf": kinds} if kinds else rest


def _renamed(schema: Json) -> Json:
    text = re.sub(rf'"{REF}(\w+)"', lambda found: f'"{REF}{_name(found[1])}"', msgspec.json.encode(schema).decode())
    found: Json = msgspec.json.decode(text)
    return found


def _name(name: str) -> str:
    """`Page_Task_`, as msgspec calls a generic struct, is `TaskPage`."""
    generic = re.fullmatch(r"([A-Za-z]+)_([A-Za-z]+)_", name)
    return f"{_name(generic[2])}{generic[1]}" if generic else PUBLIC_NAMES.get(name, name)
