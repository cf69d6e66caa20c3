"""Compiles the schemas of task types into validators that take what the worker's decoder takes.

Formats are checked by the decoder that will read them, and the keywords of `waggle.payloads.schema` are known. A pattern that the validator cannot compile
is checked by Python. Any other keyword that it cannot compile is left out, alone.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import jsonschema_rs
import msgspec
import structlog
from msgspec import Raw

from waggle.payloads.formats import FORMATS, byte_count
from waggle.payloads.schema import DOUBLE

log = structlog.get_logger()

# A search through a text as long as a payload may be ends with an answer; one without an end is given up after half a second, and then the text is refused.
_PATTERNS: Final = jsonschema_rs.FancyRegexOptions(backtrack_limit=5_000_000)
_PIECE: Final = 154
OMITTED_LIMIT: Final = 100  # parts of one schema
_STANDARD_FORMATS: Final = (
    *("email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uri-template", "regex"),
    *("json-pointer", "relative-json-pointer"),
)
_LEFT_ALONE: Final = {name: lambda _: True for name in _STANDARD_FORMATS}  # no decoder of ours checks them


class _PythonPattern:
    """A pattern of Python's."""

    def __init__(self, _schema: Any, pattern: Any, _path: Any) -> None:
        self._shown, self._search = msgspec.json.encode(pattern).decode(), re.compile(pattern).search

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and self._search(instance) is None:
            raise ValueError(f"the value does not match {self._shown}")


class _Bytes:
    """A limit to the bytes that a base64 text holds."""

    def __init__(self, _schema: Any, limit: Any, path: Any) -> None:
        self._limit, self._is_least = int(limit), path[-1] == "minBytes"

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str):
            count = byte_count(instance)
            if (count < self._limit) if self._is_least else (count > self._limit):
                raise ValueError(f"the value has {'less' if self._is_least else 'more'} than {self._limit} bytes")


class _Parsed:
    """A text that holds JSON, such as the key of an object that stands for a number."""

    def __init__(self, _schema: Any, content: Any, _path: Any) -> None:
        self._fits = jsonschema_rs.validator_for(content, offline=True).is_valid

    def validate(self, instance: Any) -> None:
        if not isinstance(instance, str):
            return
        try:
            fits = self._fits(msgspec.json.decode(instance))
        except msgspec.DecodeError:
            fits = False
        if not fits:
            raise ValueError("the text stands for a number that is not allowed")


_KEYWORDS: Final[dict[str, Any]] = {"pythonPattern": _PythonPattern, "minBytes": _Bytes, "maxBytes": _Bytes, "parsedAs": _Parsed}


class Validation(NamedTuple):
    """The validators of a type's payloads. Their messages contain no values, and they fetch nothing from the network."""

    exact: jsonschema_rs.Validator
    quick: jsonschema_rs.Validator | None  # for payloads without a number that no double holds; None if that makes no difference

    def of(self, payload: bytes | str | Raw) -> jsonschema_rs.Validator:
        """The validator to use for a payload with this text."""
        return self.exact if self.quick is None or _may_hold_huge(payload) else self.quick


def compiled(text: str, task_type: str) -> Validation | None:
    """The validators for a schema; None if it is unusable."""
    try:
        exact = _compiled(msgspec.json.decode(text), task_type)
        schema = msgspec.json.decode(text)
        return Validation(exact, _compiled(schema, task_type) if _without_double_limits(schema) else None)
    except ValueError as error:
        log.warning("unusable schema of a task type; only its workers check payloads", task_type=task_type, error=str(error)[:200])
        return None


def _may_hold_huge(payload: bytes | str | Raw) -> bool:
    """Whether a text may hold a whole number beyond a double's range: 309 digits or more fill one of these pieces, wherever they begin."""
    if len(payload) < 2 * _PIECE:
        return False
    text = payload.encode() if isinstance(payload, str) else bytes(payload)
    return any(text[at : at + _PIECE + 1].isdigit() for at in range(0, len(text) - _PIECE, _PIECE))


def _without_double_limits(schema: Any) -> bool:
    """Remove the limits of a double, which cost much to check. Whether there were any."""
    found = False
    for owner in _objects(schema):
        for keyword, limit in DOUBLE.items():
            if owner.get(keyword) == limit:
                del owner[keyword]
                found = True
    return found


def _compiled(schema: Any, task_type: str) -> jsonschema_rs.Validator:
    """Raises ValueError."""
    both = [owner for owner in _objects(schema) if isinstance(owner.get("pattern"), str) and isinstance(owner.get("pythonPattern"), str)]
    of_python = {id(owner): owner.pop("pythonPattern") for owner in both}  # the portable pattern is faster, and cannot run for hours
    for _ in range(OMITTED_LIMIT):
        try:
            return jsonschema_rs.validator_for(schema, **_options(schema))
        except jsonschema_rs.ValidationError as error:
            if not error.instance_path:
                raise
            owner, keyword = _place(schema, error.instance_path)
            value = owner.pop(keyword)
            python_pattern = of_python.get(id(owner), value) if keyword == "pattern" else None
            if _is_python(python_pattern):
                owner["pythonPattern"] = python_pattern
            else:
                log.warning("a part of a schema is not checked", task_type=task_type, part="/".join(map(str, error.instance_path)), error=error.message[:200])
    raise ValueError(f"more than {OMITTED_LIMIT} parts of it are wrong")


def _options(schema: Any) -> dict[str, Any]:
    """How to compile a schema. A validator that may call Python is slower, so it gets only the formats and keywords that the schema uses."""
    owners = list(_objects(schema))
    formats = {name: FORMATS[name] for owner in owners if isinstance(name := owner.get("format"), str) and name in FORMATS}
    keywords = {name: check for name, check in _KEYWORDS.items() if any(name in owner for owner in owners)}
    with_formats = {"validate_formats": True, "formats": {**_LEFT_ALONE, **formats}} if formats else {}
    return {"mask": "the value", "offline": True, "pattern_options": _PATTERNS, **with_formats, **({"keywords": keywords} if keywords else {})}


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """The objects in a schema, itself included."""
    if isinstance(schema, dict):
        yield schema
    for item in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _objects(item)


def _place(schema: Any, path: list[str | int]) -> tuple[Any, str | int]:
    """The object, or the list, that holds what stands at a path, and its place there."""
    for step in path[:-1]:
        schema = schema[step]
    return schema, path[-1]


def _is_python(pattern: Any) -> bool:
    try:
        re.compile(pattern)
    except (re.error, TypeError):
        return False
    return True
