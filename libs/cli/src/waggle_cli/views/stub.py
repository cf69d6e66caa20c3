"""Task types as a Python module: what a program imports that submits tasks whose handlers are elsewhere. Pure."""

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

TEXTS: Final = {"date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta", "uuid": "UUID", "decimal": "Decimal"}
HEAD: Final = '''"""Task types, written by `waggle types stub`: run it again instead of changing this."""

from __future__ import annotations'''
SIMPLE: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
MODULES: Final = {
    "datetime": ("date", "datetime", "time", "timedelta"),
    "decimal": ("Decimal",),
    "typing": ("Any", "Literal", "NotRequired", "TypedDict"),
    "uuid": ("UUID",),
    "waggle": ("App", "omitted"),
}


def module(types: Iterable[Mapping[str, Any]]) -> str:
    """The module for types as `GET /api/types` has them."""
    taken = {"app", *(word for words in MODULES.values() for word in words)}
    parts = ["app = App()", *(part for each in types for part in _Type(each["name"], each["schema"], taken).parts())]
    code = "\n\n\n".join(parts) + "\n"
    *standard, own = [line for name, words in MODULES.items() if (line := _import(name, words, code))]
    return "\n\n".join(part for part in (HEAD, "\n".join(standard), own, code) if part)


def _import(name: str, words: Iterable[str], code: str) -> str:
    used = [word for word in words if re.search(rf"\b{word}\b", code)]
    return f"from {name} import {', '.join(used)}" if used else ""


class _Type:
    """One task type: the classes in its payload, and its function."""

    def __init__(self, name: str, schema: Schema, taken: set[str]) -> None:
        """`taken` holds the names of the functions before: `a.b` and `a_b` would be one."""
        self._name, self._schema = name, schema
        self._function = _identifier(name)
        while self._function in taken:
            self._function += "_"
        taken.add(self._function)
        self._prefix = "".join(part.title() for part in self._function.split("_"))

    def parts(self) -> Iterator[str]:
        for name, definition in self._schema.get("$defs", {}).items():
            yield self._class(self._class_name(name), definition)
        yield self._declaration()

    def _declaration(self) -> str:
        fields = {name: field for name, field in self._schema.get("properties", {}).items() if field is not False}
        named = {name: field for name, field in fields.items() if _is_name(name)}
        required = self._schema.get("required", [])
        parameters = [f"{name}: {self._of(field)}" + ("" if name in required else self._default(field)) for name, field in named.items()]
        others = sorted(fields.keys() - named.keys())
        if others or self._schema.get("additionalProperties", True) is not False:
            parameters.append("**fields: Any")
        listed = f"*, {', '.join(parameters)}" if named else ", ".join(parameters)
        about = f"  # also: {', '.join(map(repr, others))}" if others else ""
        return f"@app.remote({self._name!r})\ndef {self._function}({listed}) -> Any: ...{about}"

    def _default(self, field: Schema) -> str:
        value = field.get("default")
        is_plain = field.get("type") in ("string", "integer", "boolean") and "format" not in field
        return f" = {value!r}" if is_plain and isinstance(value, (str, int)) else " = omitted"

    def _class(self, name: str, definition: Schema) -> str:
        """A definition: a TypedDict, or another name for what it is."""
        properties = definition.get("properties")
        if properties is None:
            return f"{name} = {self._of(definition)}"
        required = definition.get("required", [])
        fields = {
            field: self._of(inner) if field in required else f"NotRequired[{self._of(inner)}]" for field, inner in properties.items() if inner is not False
        }
        if all(map(_is_name, fields)):
            return f"class {name}(TypedDict):\n" + ("\n".join(f"    {field}: {kind}" for field, kind in fields.items()) or "    pass")
        listed = ", ".join(f'{field!r}: "{kind}"' for field, kind in fields.items())
        return f'{name} = TypedDict("{name}", {{{listed}}})'

    def _of(self, schema: Any) -> str:
        """The annotation of what a schema takes."""
        if not isinstance(schema, Mapping):
            return "Any"
        if "$ref" in schema:
            return self._class_name(schema["$ref"].rpartition("/")[2])
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return f"Literal[{', '.join(map(repr, values))}]" if all(isinstance(value, (str, int)) or value is None for value in values) else "Any"
        if several := schema.get("anyOf") or schema.get("oneOf"):
            return " | ".join(dict.fromkeys(self._of(one) for one in several))
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(dict.fromkeys(self._of({**schema, "type": one}) for one in kind))
        if kind == "array":
            return self._array(schema)
        if kind == "object":
            values = schema.get("additionalProperties", True)
            return f"dict[str, {self._of(values)}]"
        if kind == "string" and schema.get("contentEncoding") == "base64":
            return "bytes"
        return TEXTS.get(schema.get("format", "").removeprefix("iso-").removesuffix("-local"), "str") if kind == "string" else SIMPLE.get(str(kind), "Any")

    def _array(self, schema: Schema) -> str:
        before = schema.get("prefixItems", [])
        if before and schema.get("items") is False and schema.get("minItems") == len(before):
            return f"tuple[{', '.join(map(self._of, before))}]"
        return "list[Any]" if before else f"list[{self._of(schema.get('items'))}]"

    def _class_name(self, name: str) -> str:
        """Types of different teams may have classes of one name."""
        return self._prefix + _identifier(name)


def _identifier(text: str) -> str:
    found = re.sub(r"\W", "_", text)
    found = f"_{found}" if found[:1].isdigit() else found
    return f"{found}_" if keyword.iskeyword(found) else found


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
