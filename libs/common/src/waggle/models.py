"""Types of parameters that msgspec does not know: pydantic models. pydantic is never imported here; whoever declares a model has done that."""

import re
from typing import Any, Final

import msgspec

READABLE: Final = "a builtin type, an Enum, a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"

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
        findings = error.errors(include_url=False, include_input=False, include_context=False)
        raise ValueError("; ".join(f"{'.'.join(map(str, one['loc'])) or kind.__name__}: {one['msg']}" for one in findings)) from None


def encoded(value: Any) -> Any:
    """What JSON shows of a model, for an encoder's `enc_hook`."""
    if is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON")


def schema(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a model, and the definitions that it refers to."""
    prefix = re.sub(r"[^\w.-]", "_", f"{model.__module__}.{model.__qualname__}.")  # two models may each have an `Item` of their own
    own: dict[str, Any] = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    return own, {prefix + name: definition for name, definition in own.pop("$defs", {}).items()}
