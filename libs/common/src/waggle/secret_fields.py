"""Fields of payloads that nobody is to see: those whose schema says `writeOnly` (JSON Schema), as `Annotated[str, Secret]` does. Pure.

A masked payload can be sent back: where it still holds the mask, the value of before stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

Secret: Final = msgspec.Meta(extra_json_schema={"writeOnly": True})
"""Annotates a handler's parameter, or a field of a struct, whose values are hidden: `token: Annotated[str, Secret]`."""

MASK: Final = "***"
SHORTEST: Final = 4  # of a value that is masked in a text: a shorter one would mask parts of words

Schema = Mapping[str, Any]
_KEYWORDS: Final = ("anyOf", "oneOf", "allOf")

# Numbers stay as they are written.
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def has_any(schema: str) -> bool:
    """Whether a schema, as JSON text, has such fields."""
    return '"writeOnly":true' in schema.replace(" ", "")


def combined(schemas: Sequence[str]) -> dict[str, Any]:
    """One schema, of several as JSON texts, for what any of them hides."""
    found = [_own_names(schema, str(number)) for number, schema in enumerate(schemas)]
    return {"anyOf": found, "$defs": {name: each for schema in found for name, each in schema.pop("$defs", {}).items()}}


def _own_names(schema: str, prefix: str) -> dict[str, Any]:
    """A schema whose definitions have names of their own."""
    value: dict[str, Any] = _decode(schema.replace('"#/$defs/', f'"#/$defs/{prefix}.'))
    if "$defs" in value:
        value["$defs"] = {f"{prefix}.{name}": each for name, each in value["$defs"].items()}
    return value


def masked_text(payload: str | bytes, schema: Schema) -> bytes:
    """A payload as JSON text, with every hidden value masked."""
    return _encode(masked(_decode(payload), schema))


def masked(value: Any, schema: Schema) -> Any:
    """A payload with every hidden value masked."""
    return _mapped(value, None, [schema], schema, lambda *_: MASK)


def restored_text(payload: str | bytes, before: str | bytes, schema: Schema) -> bytes:
    """A payload that may have been masked, with the hidden values of the one before in the place of masks. A mask that hides nothing stays."""
    return _encode(_mapped(_decode(payload), _decode(before), [schema], schema, lambda new, old: old if new == MASK and old is not None else new))


def values(value: Any, schema: Schema) -> list[str]:
    """The hidden texts of a payload, the longest first."""
    found: list[str] = []

    def note(new: Any, _: Any) -> Any:
        found.extend(_texts(new))
        return new

    _mapped(value, None, [schema], schema, note)
    return sorted(found, key=len, reverse=True)


def hidden(payload: str | bytes, schema: Schema) -> list[str]:
    """As `values`, of a payload as JSON text."""
    return values(_decode(payload), schema)


def without(text: str, secrets: list[str]) -> str:
    """A text in which these values are masked, as they are and as a Python literal or JSON would show them."""
    for secret in secrets:
        for shown in {secret, repr(secret)[1:-1], _encode(secret).decode()[1:-1]}:
            if len(shown) >= SHORTEST:
                text = text.replace(shown, MASK)
    return text


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | Decimal():
            yield str(value)
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for item in value.values():
                yield from _texts(item)


def _mapped(new: Any, old: Any, schemas: list[Schema], root: Schema, change: Any) -> Any:
    """`new` with `change(new, old)` in the place of each hidden value; `old` is what stands in the same place of another payload, or None."""
    fitting = list(_resolved(schemas, root, set()))
    if new is not None and any(schema.get("writeOnly") is True for schema in fitting):
        return change(new, old)
    if isinstance(new, dict):
        other = old if isinstance(old, dict) else {}
        return {name: _mapped(item, other.get(name), _of_field(fitting, name), root, change) for name, item in new.items()}
    if isinstance(new, list):
        others = old if isinstance(old, list) else []
        return [_mapped(item, others[place] if place < len(others) else None, _of_place(fitting, place), root, change) for place, item in enumerate(new)]
    return new


def _resolved(schemas: list[Schema], root: Schema, seen: set[str]) -> Iterator[Schema]:
    """These schemas, and those that they refer to or are made of."""
    for schema in schemas:
        yield schema
        reference = schema.get("$ref", "")
        if reference and reference not in seen:
            target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
            if target is not None:
                yield from _resolved([target], root, {*seen, reference})
        for keyword in _KEYWORDS:
            yield from _resolved(schema.get(keyword, []), root, seen)


def _of_field(schemas: list[Schema], name: str) -> list[Schema]:
    """What each schema says of a field: as one of its own, or as any other."""
    found = []
    for schema in schemas:
        own = schema.get("properties", {})
        others = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
        found += [own[name]] if name in own else others
    return [each for each in found if isinstance(each, Mapping)]


def _of_place(schemas: list[Schema], place: int) -> list[Schema]:
    found = []
    for schema in schemas:
        first = schema.get("prefixItems", [])
        if place < len(first):
            found.append(first[place])
        elif isinstance(schema.get("items"), Mapping):
            found.append(schema["items"])
    return found
