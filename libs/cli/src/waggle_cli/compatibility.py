"""What a new version of a task type no longer takes, by the JSON Schemas of its payloads. Pure.

Careful rather than clever: of a keyword that it cannot compare it says that the two differ.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from waggle.payloads.schema import DOUBLE

Schema = Mapping[str, Any]

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minBytes")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxBytes")
_EQUAL: Final = (
    *("format", "pattern", "pythonPattern", "multipleOf", "uniqueItems", "contentEncoding", "propertyNames", "parsedAs"),
    *("patternProperties", "allOf", "not"),
)
_DEPTH: Final = 20  # of a schema that refers to itself


class Part(NamedTuple):
    """A part of a schema, with the whole, to which its references point."""

    schema: Any
    root: Schema

    def of(self, schema: Any) -> "Part":
        return Part(schema, self.root)


def losses(before: str, after: str) -> list[str]:
    """A sentence for each kind of payload that the schema `before` takes and `after` may not; both are JSON texts."""
    old, new = msgspec.json.decode(before), msgspec.json.decode(after)
    return list(dict.fromkeys(_losses(Part(old, old), Part(new, new), "", 0)))


def _losses(old: Part, new: Part, at: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH or new.schema is True or new.schema == {} or old.schema is False:  # the last: nothing was taken there
        return
    if new.schema is False:
        yield f"{_name(at)} is no longer taken"
        return
    was, becomes = _variants(old), _variants(new)
    if len(was) == len(becomes) == 1:
        yield from _of_one(was[0], becomes[0], at, depth)
        return
    for variant in was:
        if not any(not list(_of_one(variant, other, at, depth)) for other in becomes):
            yield f"{_name(at)} no longer takes {_described(variant.schema)}"


def _of_one(old: Part, new: Part, at: str, depth: int) -> Iterator[str]:
    """Of two schemas that are no unions."""
    was, becomes = old.schema, new.schema
    kinds = was.get("type"), becomes.get("type")
    if kinds[1] is not None and kinds[0] != kinds[1] and kinds != ("integer", "number") and not _values(was):
        yield f"{_name(at)} takes {kinds[1]} instead of {kinds[0] or 'any value'}"
        return
    yield from _of_values(was, becomes, at)
    yield from _of_limits(was, becomes, at)
    if "object" in kinds or "properties" in becomes:
        yield from _of_fields(old, new, at, depth)
    if "array" in kinds:
        yield from _of_items(old, new, at, depth)


def _of_values(was: Schema, becomes: Schema, at: str) -> Iterator[str]:
    allowed, given = _values(becomes), _values(was)
    if allowed and not given:
        yield f"{_name(at)} takes only {_listed(allowed)}"
    elif allowed and (gone := [value for value in given if value not in allowed]):
        yield f"{_name(at)} no longer takes {_listed(gone)}"


def _of_limits(was: Schema, becomes: Schema, at: str) -> Iterator[str]:
    for keyword in (*_LOWER, *_UPPER):
        limit, before = becomes.get(keyword), was.get(keyword)
        if limit is not None and limit != DOUBLE.get(keyword) and (before is None or (before < limit if keyword in _LOWER else before > limit)):
            yield f"{_name(at)} has a {keyword} of {limit}{'' if before is None else f' instead of {before}'}"
    for keyword in _EQUAL:
        if keyword in becomes and becomes[keyword] != was.get(keyword):
            yield f"{_name(at)} has another {keyword}"


def _of_fields(old: Part, new: Part, at: str, depth: int) -> Iterator[str]:
    was, becomes = old.schema.get("properties", {}), new.schema.get("properties", {})
    rest, others = old.schema.get("additionalProperties", True), new.schema.get("additionalProperties", True)
    for name in new.schema.get("required", []):
        if name not in old.schema.get("required", []):
            yield f"{_name(_inside(at, name))} is required"
    for name, field in was.items():
        if field is False:  # a name that `**rest` may not have
            continue
        if name not in becomes and others is False:
            yield f"{_name(_inside(at, name))} is no longer a field"
        else:
            yield from _losses(old.of(field), new.of(becomes.get(name, others)), _inside(at, name), depth + 1)
    if rest is not False:
        for name in becomes.keys() - was.keys():
            yield from _losses(old.of(rest), new.of(becomes[name]), _inside(at, name), depth + 1)
        if others is False:
            yield f"{_name(at)} no longer takes other fields"
        elif others is not True:
            yield from _losses(old.of(rest), new.of(others), _inside(at, "*"), depth + 1)


def _of_items(old: Part, new: Part, at: str, depth: int) -> Iterator[str]:
    first, then = old.schema.get("prefixItems", []), new.schema.get("prefixItems", [])
    rest, others = old.schema.get("items", True), new.schema.get("items", True)
    for place in range(max(len(first), len(then))):
        was, becomes = (first[place] if place < len(first) else rest), (then[place] if place < len(then) else others)
        yield from _losses(old.of(was), new.of(becomes), f"{at}[{place}]", depth + 1)
    yield from _losses(old.of(rest), new.of(others), f"{at}[]", depth + 1)


def _variants(part: Part) -> list[Part]:
    """The schemas of a union, with what a reference points to in its place."""
    schema = part.schema
    if schema is True:
        return [part.of({})]
    if reference := schema.get("$ref"):
        return _variants(part.of(part.root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return [variant for each in schema[keyword] for variant in _variants(part.of(each))]
    if isinstance(schema.get("type"), list):
        return [part.of({**schema, "type": kind}) for kind in schema["type"]]
    return [part]


def _values(schema: Schema) -> list[Any]:
    """The only values that a schema takes, if it names them."""
    found: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return found


def _described(schema: Schema) -> str:
    return _listed(values) if (values := _values(schema)) else str(schema.get("type", "any value"))


def _listed(values: list[Any]) -> str:
    return ", ".join(msgspec.json.encode(value).decode() for value in values)


def _inside(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _name(at: str) -> str:
    return at or "the payload"
