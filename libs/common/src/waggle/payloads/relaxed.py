"""Types without `multiple_of` for floats: binary fractions miss most multiples of 0.01, so msgspec refuses 19.99. `lenient` checks them as written. Pure."""

import types
from typing import Annotated, Any, Final, NotRequired, Required, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from msgspec import Meta

_KEPT: Final = ("gt", "ge", "lt", "le", "pattern", "min_length", "max_length", "tz", "title", "description", "examples", "extra_json_schema", "extra")
_UNIONS: Final = (Union, types.UnionType)
_ROOMS: Final = ("builtins", "collections.abc")  # of the types that hold others


def relaxed(hint: Any, within: tuple[Any, ...] = ()) -> Any:
    """The type without such rules, also inside lists and other types without a class of their own; the same object if it has none.

    `within` are the TypedDicts around it: they may hold themselves.
    """
    if is_typeddict(hint):
        return hint if hint in within else _relaxed_dict(hint, (*within, hint))
    if (named := _named(hint)) is not hint:
        inner = relaxed(named, within)
        return hint if inner is named else inner
    origin, before = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, metas = relaxed(before[0], within), [_without(meta) if _holds_float(before[0]) else meta for meta in before[1:]]
        changed = inner is not before[0] or any(old is not new for old, new in zip(before[1:], metas, strict=True))
        return Annotated[(inner, *metas)] if changed else hint
    if origin not in (*_UNIONS, Required, NotRequired) and getattr(origin, "__module__", "") not in _ROOMS:
        return hint
    after = tuple([relaxed(one, within) for one in before])
    if all(old is new for old, new in zip(before, after, strict=True)):
        return hint
    return Union[after] if origin in _UNIONS else origin[after if len(after) > 1 else after[0]]  # noqa: UP007  # of a tuple


def relaxed_fields(cls: Any, within: tuple[Any, ...] = ()) -> dict[str, Any] | None:
    """The relaxed types of a class's fields; None if none of them changes. The class may be generic, with its parameters."""
    origin = get_origin(cls) or cls
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(cls), strict=False))
    before = {name: _filled(hint, given) for name, hint in get_type_hints(origin, include_extras=True).items()}
    after = {name: relaxed(hint, within) for name, hint in before.items()}
    return after if any(after[name] is not hint for name, hint in before.items()) else None


def _filled(hint: Any, given: dict[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return given.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple([given.get(one, Any) for one in parameters])] if parameters and not isinstance(hint, type) else hint


def _relaxed_dict(cls: Any, within: tuple[Any, ...]) -> Any:
    """A TypedDict is a plain dict when it is read, so another one can take its place."""
    fields = relaxed_fields(cls, within)
    if fields is None:
        return cls
    is_needed = cls.__required_keys__
    bare = {name: get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint for name, hint in fields.items()}
    return TypedDict(cls.__name__, {name: (Required if name in is_needed else NotRequired)[hint] for name, hint in bare.items()})  # type: ignore[operator]


def _named(hint: Any) -> Any:
    """What a NewType, or a `type` of Python 3.12, stands for; another type itself."""
    if type(hint).__name__ == "TypeAliasType":
        return hint.__value__
    return getattr(hint, "__supertype__", hint)


def _holds_float(hint: Any) -> bool:
    hint = _named(hint)
    return hint is float or any(_holds_float(one) for one in get_args(hint) if get_origin(hint) in _UNIONS)


def _without(meta: Any) -> Any:
    if not isinstance(meta, Meta) or meta.multiple_of is None:
        return meta
    return Meta(**{name: value for name in _KEPT if (value := getattr(meta, name)) is not None})
