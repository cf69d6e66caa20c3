"""What can be declared as a handler or a cleanup hook. The rest is refused where it is declared, with the task, the parameter, and the function's place."""

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, Final, get_type_hints

import msgspec

from waggle import models
from waggle.context import Context
from waggle.field_errors import plain
from waggle.payloads.relaxed import relaxed
from waggle.payloads.schema import of_payload
from waggle.retry import Backoff
from waggle.submission import MAX_RETRIES_LIMIT, TIMEOUT_LIMIT

Function = Callable[..., Any]

_SHOWN_CHARACTERS: Final = 100


def place(function: object) -> str:
    """`send_email (/srv/shop/tasks.py:12)`: a function and where it is written; of a wrapper or a partial, the function in it."""
    inner = inspect.unwrap(_plain_function(function)) if callable(function) else function
    name = getattr(inner, "__qualname__", None) or _shown(inner)
    code = getattr(inner, "__code__", None)
    if code is not None:
        return f"{name} ({code.co_filename}:{code.co_firstlineno})"
    try:
        return f"{name} ({inspect.getsourcefile(inner)}:{inspect.getsourcelines(inner)[1]})"  # type: ignore[arg-type]
    except (TypeError, OSError):  # a builtin, or no function at all
        return name


def caller() -> str:
    """`/srv/shop/tasks.py:12`: the line that calls the function that calls this one."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def check_function(task: str, function: object, what: str = "handler") -> None:
    """Raises TypeError for what cannot be called, and for what does none of its work when it is called."""
    about = f"task {task}: the {what} {place(function)} "
    if isinstance(function, type):
        raise TypeError(about + "is a class; declare a function, a method of an object, or an object with __call__")
    if not callable(function):
        raise TypeError(about + "cannot be called; declare a function")
    called = _plain_function(function)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(about + "is a generator, which a call does not run; return the values, or send them with ctx.emit")


def check_hook(task: str, hook: Function) -> None:
    """Raises TypeError when it cannot be called as `hook(ctx, error)`."""
    check_function(task, hook, "cleanup hook")
    try:
        inspect.signature(hook).bind(None, None)
    except (TypeError, ValueError) as error:
        raise TypeError(f"task {task}: the cleanup hook {place(hook)} must accept (ctx, error): {error}") from None


def check_numbers(task: str, max_retries: object, timeout: object, where: str) -> None:
    """The limits are those of a submission. Raises TypeError or ValueError."""
    about = f"task {task} ({where}): "
    if not isinstance(max_retries, int) or isinstance(max_retries, bool):
        raise TypeError(about + f"max_retries must be a whole number, not {_shown(max_retries)}")
    if not 0 <= max_retries <= MAX_RETRIES_LIMIT:
        raise ValueError(about + f"max_retries must be from 0 to {MAX_RETRIES_LIMIT}, not {_shown(max_retries)}")
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(about + f"timeout must be a number of seconds, not {_shown(timeout)}")
    if not 0 < timeout <= TIMEOUT_LIMIT:
        raise ValueError(about + f"timeout must be more than 0 and at most {TIMEOUT_LIMIT} seconds, not {_shown(timeout)}")


def check_backoff(task: str, backoff: object, where: str) -> None:
    """Raises TypeError for what is neither a `Backoff` nor a function of one number."""
    if backoff is None or isinstance(backoff, Backoff):
        return
    about = f"task {task} ({where}): backoff must be a waggle.Backoff or a function of the try's number, "
    if not callable(backoff):
        raise TypeError(about + f"not {_shown(backoff)}; a fixed wait is Backoff.fixed(seconds)")
    check_function(task, backoff, "backoff")
    if is_async(backoff):
        raise TypeError(about + f"and {place(backoff)} is async")
    try:
        inspect.signature(backoff).bind(1)
    except (TypeError, ValueError) as error:
        raise TypeError(about + f"and {place(backoff)} does not take that: {error}") from None


def is_async(function: Function) -> bool:
    """Whether a call gives a coroutine for certain. Of a plain wrapper only the call itself can tell."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_plain_function(function))


def parameters(owner: str, function: Function) -> list[inspect.Parameter]:
    """The parameters of a call, with their annotations as types. `owner`: `task email.send`. Raises TypeError for an annotation that cannot be read."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise TypeError(f"{owner}: {place(function)} does not tell its parameters: {error}") from None
    annotated = inspect.unwrap(_plain_function(function))
    hints = {name: _hint(owner, function, annotated, name) for name in getattr(annotated, "__annotations__", {}) if name != "return"}
    return [parameter.replace(annotation=hints.get(parameter.name, Any)) for parameter in found]


def result(owner: str, function: Function) -> Any:
    """What a function is annotated to return, None without that. Raises TypeError for an annotation that cannot be read."""
    annotated = inspect.unwrap(_plain_function(function))
    return _hint(owner, function, annotated, "return") if "return" in getattr(annotated, "__annotations__", {}) else None


def check_field(owner: str, function: Function, parameter: inspect.Parameter, default: Any) -> None:
    """Raises TypeError for what cannot be a field of a payload: its kind, its type, or a default that is not of the type."""
    about, hint = spot(owner, function, parameter.name), parameter.annotation
    check_by_name(owner, function, parameter)
    if parameter.name == "self" and hint is Any:
        raise TypeError(f"{about} has no object; declare the method of an object")
    if hint is Context:
        raise TypeError(f"{about} is a context, which only the first parameter can be")
    try:
        msgspec.json.Decoder(hint, dec_hook=models.decoded)
        of_payload(msgspec.defstruct("Payload", [(parameter.name, hint, default)]))
    except Exception as error:  # of msgspec, of pydantic, or of a type's own code
        raise TypeError(f"{about} is a {named(hint)}: {error}") from error
    if parameter.default not in (inspect.Parameter.empty, msgspec.UNSET):
        _check_default(about, hint, parameter.default)


def check_by_name(owner: str, function: Function, parameter: inspect.Parameter) -> None:
    """Raises TypeError for a parameter that cannot be passed by its name."""
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
        advice = "; a decorator around the handler needs functools.wraps" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else ""
        raise TypeError(f"{spot(owner, function, parameter.name)} must be one that can be passed by name{advice}")


def spot(owner: str, function: Function, parameter: str) -> str:
    """A parameter, for an error."""
    return f"{owner}: parameter {parameter!r} of {place(function)}"


def _check_default(about: str, hint: Any, default: Any) -> None:
    why = "the handler would get it as it is"
    try:
        fitting = msgspec.convert(default, relaxed(hint), dec_hook=models.decoded)
        if not isinstance(default, (str, bytes, dict)) or isinstance(fitting, type(default)):  # "2026-01-01" is no date
            return
    except Exception as error:  # of msgspec, or of a type's own code
        why = plain(error) if isinstance(error, msgspec.ValidationError) else str(error)
    advice = f"; annotate it as {named(hint)} | None" if default is None else ""
    raise TypeError(f"{about} has the default {_shown(default)}, which is no {named(hint)} ({why}){advice}")


def _hint(owner: str, function: Function, annotated: Any, name: str) -> Any:
    """The type of one annotation. Alone, so that an error can name the parameter, and a return type that exists for a type checker only does no harm."""
    annotation = annotated.__annotations__[name]
    try:
        return get_type_hints(types.SimpleNamespace(__annotations__={name: annotation}), getattr(annotated, "__globals__", {}), include_extras=True)[name]
    except Exception as error:  # whatever the evaluation of a text raises
        raise TypeError(f"{spot(owner, function, name)}: its annotation {_shown(annotation)} cannot be read: {error}") from error


def _plain_function(function: Any) -> Any:
    """The function that a call runs first: in a partial, a method, or an object with `__call__`."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif isinstance(called := getattr(type(function), "__call__", None), types.FunctionType) and not isinstance(function, type):  # noqa: B004  # the function itself is needed
            function = called
        else:
            return function


def named(hint: Any) -> str:
    """A type as an error shows it."""
    return hint.__name__ if type(hint) is type else _shown(hint).replace("typing.", "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
