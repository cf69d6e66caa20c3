"""Types of parameters that msgspec does not know: pydantic models. pydantic is never imported here; whoever declares a model has done that."""

import re
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

READABLE: Final = "a builtin type, an Enum, a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"

_VALUES: Final = ("default", "examples", "enum", "const")  # what stands there is no schema
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def is_model(kind: Any) -> bool:
    """Whether a type is a model of pydantic 2."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def decoded(kind: Any, value: Any) -> Any:
    """A JSON value as a model, for a decoder's `dec_hook`. Raises ValueError with all that is wrong, without the values, which may be secret."""
    if not is_model(kind):
        raise NotImplementedError(f"{kind!r} cannot be read from JSON")
    if isinstance(value, kind):  # a default
        return value
    try:
        return kind.model_validate_json(_encode(value))  # as JSON: a strict model takes a text for a time, for example
    except ValueError as error:
        if not hasattr(error, "errors"):
            raise
        if repr(whole := _whole(value)) != repr(value):  # 3.0 is a whole number in JSON Schema, and none for a strict model
            return decoded(kind, whole)
        findings = error.errors(include_url=False, include_input=False, include_context=False)
        raise ValueError("; ".join(f"{'.'.join(map(str, one['loc'])) or kind.__name__}: {one['msg']}" for one in findings)) from None


def encoded(value: Any) -> Any:
    """What JSON shows of a model, for an encoder's `enc_hook`."""
    if is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON")


def revealed(value: Any) -> Any:
    """A model as its own decoder reads it, for an encoder's `enc_hook`: with its secrets, and without fields that are computed."""
    if is_model(type(value)):
        return _revealed(value.model_dump(round_trip=True, by_alias=True), value.model_dump(mode="json", round_trip=True, by_alias=True))
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON")


def _revealed(value: Any, shown: Any) -> Any:
    """What is shown of a value in JSON, with what it hides."""
    if hasattr(value, "get_secret_value"):
        secret = value.get_secret_value()
        return secret.decode() if isinstance(secret, bytes) else secret
    if isinstance(value, dict) and isinstance(shown, dict):
        return {name: _revealed(inner, each) for inner, (name, each) in zip(value.values(), shown.items(), strict=True)}
    if isinstance(value, (set, frozenset)) and any(hasattr(inner, "get_secret_value") for inner in value):
        return [_revealed(inner, None) for inner in value]
    if isinstance(value, (list, tuple)) and isinstance(shown, list):
        return [_revealed(inner, each) for inner, each in zip(value, shown, strict=True)]
    return shown


def schema(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a model, and the definitions that it refers to. Raises TypeError for one whose secrets could hide under a name that it lacks.

    It says less than the model checks: pydantic has other forms of a time than the formats that are checked, and sets that take an item twice.
    """
    prefix = re.sub(r"[^\w.-]", "_", f"{model.__module__}.{model.__qualname__}.")  # two models may each have an `Item` of their own
    own: dict[str, Any] = _unchecked(model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}"))
    if b'"writeOnly":true' in _encode(own):
        _check_names(model, set())
    return own, {prefix + name: definition for name, definition in own.pop("$defs", {}).items()}


def _whole(value: Any) -> Any:
    """The value with whole numbers as integers."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            return int(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {name: _whole(item) for name, item in value.items()}
        case _:
            return value


def _unchecked(schema: Any) -> Any:
    """A schema without what a door would check in another way than the model."""
    if isinstance(schema, list):
        return [_unchecked(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    of_door = {"format", "uniqueItems"} if isinstance(schema.get("type"), str) else set()
    return {name: each if name in _VALUES else _unchecked(each) for name, each in schema.items() if name not in of_door}


def _check_names(kind: Any, seen: set[Any]) -> None:
    """Raises TypeError if a field of these models has several names: a schema has one of them, and only what that one holds would be hidden."""
    if not is_model(kind):
        for inner in get_args(kind):
            _check_names(inner, seen)
        return
    if kind in seen:
        return
    seen.add(kind)
    by_name = kind.model_config.get("populate_by_name") or kind.model_config.get("validate_by_name")
    for name, field in kind.model_fields.items():
        names = {name} if by_name or field.validation_alias is None else set()
        if field.validation_alias is not None:
            names |= set(getattr(field.validation_alias, "choices", [field.validation_alias]))
        if len(names) > 1 or not all(isinstance(each, str) for each in names):
            listed = ", ".join(sorted(map(str, names)))
            raise TypeError(f"{kind.__qualname__} is part of a model with secrets, and its field {name!r} has several names ({listed}): give it one")
        _check_names(field.annotation, seen)
