"""What the value of a setting may be, in words: for error messages and for docs/settings.md.

Numbers and fixed words are described by their type. For a text or a list with a pattern, `Meta(extra={"form": "module:attribute"})` says it.
"""

import re
from typing import Any, Final

from msgspec import inspect

REFERENCE_FORM: Final = "module:attribute"
REFERENCE_PATTERN: Final = r"\w[\w.]*:\w[\w.]*"


def kind(type_: Any) -> str:
    """The values that a type takes: `whole number from 1 to 10,000`."""
    return form(type_) or _words(inspect.type_info(type_))


def expected(type_: Any) -> str:
    """The same for an error message, after "expected"; empty where only the error itself can say it."""
    words = _words(inspect.type_info(type_))
    if words.startswith(("whole number", "number")):
        return f"a {words}"
    return form(type_) or (f"one of {words}" if words.startswith("`") else "")


def form(type_: Any) -> str:
    """The form of a text or a list, if its declaration has one."""
    return next((meta.extra["form"] for meta in getattr(type_, "__metadata__", ()) if meta.extra and "form" in meta.extra), "")


def hint(text: object) -> str:
    """`; did you mean app.tasks:app?` for the path of a file where a module is named, else nothing."""
    path, _, attribute = str(text).partition(":")
    module = re.sub(r"[/\\\\]+", ".", path.removesuffix(".py")).lstrip(".")
    meant = f"{module}:{attribute or 'app'}"
    is_path = path != module and not path.startswith("/")
    return f"; did you mean {meant}?" if is_path and re.fullmatch(REFERENCE_PATTERN, meant) else ""


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
    """` from 1 to 10`, ` above 0, up to 10`; the declarations have no `lt`."""
    low, to = "" if type_.ge is None else f" from {_number(type_.ge)}", " to "
    if type_.gt is not None:
        low, to = f" above {_number(type_.gt)}", ", up to "
    return low if type_.le is None else f"{low}{to}{_number(type_.le)}"


def _number(bound: float) -> str:
    return f"{int(bound) if bound == int(bound) else bound:,}"
