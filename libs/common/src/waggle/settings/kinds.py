"""What the value of a setting may be, in words: for error messages and for docs/settings.md."""

from typing import Any

from msgspec import inspect


def kind(type_: Any) -> str:
    """What values a type takes: `whole number, from 1 to 10,000`."""
    return _words(inspect.type_info(type_))


def is_plain(type_: Any) -> bool:
    """Whether `kind` says all that there is to know of a value: numbers and fixed words, not texts and lists with a pattern."""
    return _words(inspect.type_info(type_)) not in ("text", "list")


def _words(type_: inspect.Type) -> str:
    match type_:
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in sorted(values, key=str))
        case inspect.UnionType(types=types):
            return " or ".join(_words(part) for part in types if not isinstance(part, inspect.NoneType))
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.IntType():
            return "whole number" + _range(type_)
        case inspect.FloatType():
            return "number" + _range(type_)
        case inspect.VarTupleType():
            return "list"
        case _:
            return "text"


def _range(type_: inspect.IntType | inspect.FloatType) -> str:
    words = [
        f"{word} {int(bound) if bound == int(bound) else bound:,}"
        for word, bound in (("over", type_.gt), ("from", type_.ge), ("below", type_.lt), ("to", type_.le))
        if bound is not None
    ]
    return f", {' '.join(words)}" if words else ""
