"""Task types as users declare them: `@app.task` turns a function into a handler, and its signature into the payload's schema and the way to submit it."""

import copy
import inspect
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, update_wrapper
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

import msgspec

from waggle import declarations, secret_fields
from waggle.context import Context, checked_breaker
from waggle.payloads.decoder import Payload
from waggle.resources import Declared, Resource
from waggle.retry import Backoff, BackoffFunc
from waggle.submittable import Fields, R, Submittable
from waggle.task import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE, DEFAULT_TIMEOUT, QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN

if TYPE_CHECKING:
    from waggle.client.aio.client import Client

F = TypeVar("F", bound=Callable[..., Any])
Called = ParamSpec("Called")
Returned = TypeVar("Returned")

injected: Any = object()
"""The default of a parameter that a resource fills, so that a type checker asks for it neither in `enqueue` nor in a call."""


class Handler:
    """A task type and its function, which runs on the event loop (`is_async`), in a process of its own (`process`) or else in a thread."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        queue: str,
        max_retries: int,
        timeout: float,
        dead_letter: bool,
        process: bool = False,
        cleanup: Callable[..., Any] | None = None,
        breaker: str | None = None,
        backoff: Backoff | BackoffFunc | None = None,
        resources: Declared | None = None,
    ) -> None:
        self.name, self.function = name, function
        self.queue, self.max_retries, self.timeout, self.dead_letter = queue, max_retries, timeout, dead_letter
        self.process, self.cleanup, self.backoff = process, cleanup, backoff
        self.breaker = None if breaker is None else checked_breaker(breaker)
        declarations.check_function(name, function)
        self.is_async = declarations.is_async(function)
        if process and self.is_async:
            raise TypeError(f"task {name}: a handler with process=True is a plain function, and {declarations.place(function)} is async")
        if cleanup is not None:
            declarations.check_hook(name, cleanup)
        self.takes_context, fields, self.resources, is_open = _signature(f"task {name}", function, resources or Declared())
        if process and self.resources:
            parameter = declarations.spot(f"task {name}", function, min(self.resources))
            raise TypeError(f"{parameter} is a resource, which a handler with process=True does not have: open it in the function")
        reserved = [*_reserved(function), *self.resources] if is_open else ()
        self._payload = Payload(_struct_name(name), fields, is_open=is_open, reserved=reserved)
        self.schema: dict[str, Any] = self._payload.schema
        self.schema_text = msgspec.json.encode(self.schema).decode()
        self.has_secrets = secret_fields.has_any(self.schema_text)

    def arguments(self, payload: str) -> dict[str, Any]:
        """The keyword arguments of a call. Raises msgspec.ValidationError when the payload does not fit, TooDeep when it is nested too deeply."""
        return self._payload.arguments(payload)


class TaskFunction(Handler, Submittable[Fields, R], Generic[Called, Returned, Fields, R]):
    """A handler as its module has it: called, it is the function that it was; `enqueue` submits a task of it, with the same arguments but the context."""

    def __init__(self, app: "App", name: str, function: Callable[..., Any], **declared: Any) -> None:
        Handler.__init__(self, name, function, **declared)
        own = inspect.signature(function)
        skipped = {*self.resources, *(list(own.parameters)[:1] if self.takes_context else [])}
        fields = own.replace(parameters=[each for name, each in own.parameters.items() if name not in skipped])
        Submittable.__init__(self, name, lambda: app.client, function, fields)
        update_wrapper(self, function, updated=())
        if self.is_async and sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    def __call__(self, /, *args: Called.args, **kwargs: Called.kwargs) -> Returned:
        called: Returned = self.function(*args, **kwargs)
        return called

    def __reduce__(self) -> str:
        """Pickled by name, as a function is."""
        return str(getattr(self, "__qualname__", self.name))


class TaskDecorator(Protocol):
    """What `app.task(…)` gives: it makes a function a handler."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, Fields], Coroutine[Any, Any, R]], /
    ) -> TaskFunction[Concatenate[Context, Fields], Coroutine[Any, Any, R], Fields, R]: ...
    @overload
    def __call__(self, function: Callable[Fields, Coroutine[Any, Any, R]], /) -> TaskFunction[Fields, Coroutine[Any, Any, R], Fields, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, Fields], R], /) -> TaskFunction[Concatenate[Context, Fields], R, Fields, R]: ...
    @overload
    def __call__(self, function: Callable[Fields, R], /) -> TaskFunction[Fields, R, Fields, R]: ...


class App:
    """The handlers of one application; `WAGGLE_APP=module:app` names it."""

    def __init__(self, client: "Client | None" = None) -> None:
        """`client` submits what `enqueue` is called with; without one, the first `enqueue` makes `Client()`."""
        self._handlers: dict[str, Handler] = {}
        self._resources = Declared()
        self._client = client
        self._outer: App | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The task types of this app, by name."""
        return MappingProxyType(self._handlers)

    @property
    def client(self) -> "Client":
        """What submits tasks of this app: its own client, or that of the app that includes it. Raises WrongAddressError."""
        if self._client is None and self._outer is not None:
            return self._outer.client
        if self._client is None:
            from waggle.client.aio.client import Client

            self._client = Client()
        return self._client

    def task(
        self,
        name: str,
        *,
        queue: str = DEFAULT_QUEUE,
        max_retries: int = DEFAULT_MAX_RETRIES,
        timeout: float = DEFAULT_TIMEOUT,
        dead_letter: bool = True,
        process: bool = False,
        cleanup: Callable[..., Any] | None = None,
        breaker: str | None = None,
        backoff: Backoff | BackoffFunc | None = None,
    ) -> TaskDecorator:
        """Make a function the handler of task type `name`.

        The typed parameters are the payload's fields; a first parameter that is annotated `Context` or named `ctx` receives the context, and one
        whose type a resource yields receives that (see `resource`).
        `async def` runs on the event loop, `def` in a thread, or with `process=True` in a process of its own. `timeout` is in seconds; tries = 1 +
        `max_retries`; with `dead_letter=False` a task that used up its tries becomes `failed`. `cleanup(ctx, error)`, async or plain, is called
        once when a task ends without success. With `breaker` the whole handler is the protected call: it does not start while that circuit breaker
        is open. `backoff` says how long a task waits after a failed try: a `Backoff`, or a function of the try's number, 1 for the first.
        Raises ValueError for an invalid name or number, TypeError for what cannot be a handler (see `declarations`).
        """
        where = declarations.caller()
        if callable(name):
            raise TypeError(f'{declarations.place(name)}: write @app.task("a.name"), with the name of the task type')
        if not isinstance(name, str) or not re.fullmatch(TYPE_PATTERN, name) or len(name) > TYPE_LENGTH:
            raise ValueError(f"task type {name!r} ({where}) must match {TYPE_PATTERN}, with at most {TYPE_LENGTH} characters")
        if not isinstance(queue, str) or not re.fullmatch(QUEUE_PATTERN, queue) or len(queue) > QUEUE_LENGTH:
            raise ValueError(f"task {name} ({where}): queue {queue!r} must match {QUEUE_PATTERN}, with at most {QUEUE_LENGTH} characters")
        declarations.check_numbers(name, max_retries, timeout, where)
        declarations.check_backoff(name, backoff, where)
        if name in self._handlers:
            raise ValueError(f"task type {name} ({where}) already has a handler: {declarations.place(self._handlers[name].function)}")

        def register(function: Callable[..., Any]) -> TaskFunction[..., Any, ..., Any]:
            function = _plain(function)
            made: TaskFunction[..., Any, ..., Any] = TaskFunction(
                self,
                name,
                function,
                queue=queue,
                max_retries=max_retries,
                timeout=timeout,
                dead_letter=dead_letter,
                process=process,
                cleanup=cleanup,
                breaker=breaker,
                backoff=backoff,
                resources=self._resources,
            )
            self._handlers[name] = made
            return made

        return cast("TaskDecorator", register)

    def remote(self, name: str) -> Callable[[Callable[Fields, R]], Submittable[Fields, R]]:
        """Make a function's signature the way to submit tasks of a type whose handler is elsewhere; `waggle types stub` writes such functions.

        The function is never called.
        """

        def declare(function: Callable[Fields, R]) -> Submittable[Fields, R]:
            return Submittable(name, lambda: self.client, function, inspect.signature(function))

        return declare

    def resource(self, function: F) -> F:
        """Make what a generator yields, async or plain, a parameter of the handlers that are declared after it, found by its type.

        The annotation says what it yields: `-> AsyncIterator[Pool]`. Each worker process opens it once, before its first task, if one of its handlers
        takes it, and goes on with the generator at its stop, after the last handler. Its own parameters are resources that were declared before it.
        Raises TypeError for what cannot be a resource, ValueError when there is one for the type.
        """
        self._resources.add(function)
        return function

    def include(self, other: "App") -> None:
        """Add the handlers and resources of another app. Raises ValueError when both have a handler for the same task type, or a resource of one type."""
        both = self._handlers.keys() & other._handlers.keys()
        if both:
            raise ValueError(f"both apps have a handler for {', '.join(sorted(both))}")
        self._resources.include(other._resources)
        other._outer = self
        self._handlers.update(other._handlers)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a handler, which may be the handler of a second type, also with some of its arguments."""
    if isinstance(function, TaskFunction):
        return function.function
    if isinstance(function, partial) and isinstance(function.func, TaskFunction):
        return partial(function.func.function, *function.args, **function.keywords)
    return function


def _signature(owner: str, function: Callable[..., Any], resources: Declared) -> tuple[bool, list[tuple[str, Any, Any]], Mapping[str, Resource], bool]:
    """Whether the function takes a context, its payload's fields, its resources, and whether it takes any other field as well (`**rest`)."""
    parameters = declarations.parameters(owner, function)
    takes_context = bool(parameters) and (parameters[0].annotation is Context or parameters[0].name == "ctx")
    fields: list[tuple[str, Any, Any]] = []
    taken: dict[str, Resource] = {}
    is_open = False
    for parameter in parameters[takes_context:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            is_open = True
            continue
        if (resource := resources.get(parameter.annotation)) is not None:
            declarations.check_by_name(owner, function, parameter)
            taken[parameter.name] = resource
            continue
        default = msgspec.NODEFAULT if parameter.default is inspect.Parameter.empty else _default(parameter.default)
        declarations.check_field(owner, function, parameter, default)
        fields.append((parameter.name, parameter.annotation, default))
    return takes_context, fields, taken, is_open


def _reserved(function: Callable[..., Any]) -> list[str]:
    """The names that no field of `**rest` can have, because the call fills them: the context's, and `self` of a method."""
    called: Any = function
    while isinstance(called, partial):
        called = called.func
    called = called if inspect.isroutine(called) or inspect.isclass(called) else type(called).__call__
    own = inspect.signature(getattr(called, "__func__", called), follow_wrapped=False).parameters.values()
    outer = list(inspect.signature(function).parameters.values())[:1]
    return [parameter.name for parameter in (*outer, *own) if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]


def _default(value: Any) -> Any:
    """The default value of a field; one that a handler could change is copied for each call."""
    if value is None or isinstance(value, (str, bytes, int, float, tuple, frozenset)):
        return value
    return msgspec.field(default_factory=partial(copy.deepcopy, value))


def _struct_name(name: str) -> str:
    return re.sub(r"\W", "_", name).title().replace("_", "")
