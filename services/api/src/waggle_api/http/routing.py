"""Routes: everything about a route is declared once, at its handler. The application and the OpenAPI document are derived from the declarations.

The handler receives parsed values: its path and query parameters and its body, by name. A route without a scope cannot be declared.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from litestar import Request, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from waggle.scopes import Scope
from waggle_api.caller import Caller
from waggle_api.http import bodies, queries
from waggle_api.http.answers import TEXT, EncodedResponse
from waggle_api.http.bodies import Body
from waggle_api.http.queries import Parameter

R = TypeVar("R")
RouteHandler = Callable[..., Awaitable[ASGIApp]]
H = TypeVar("H", bound=RouteHandler)

_placeholder: Final = re.compile(r"\{(\w+)\}")


Identify = Callable[[Request[Any, Any, Any], "Route"], Awaitable[Caller]]
"""Who sends a request. Raises Unauthenticated, or Forbidden if they may not use this route."""


class RouteCall(Generic[R]):
    """One request to a route: the resources that its handler works with, and who sends it."""

    __slots__ = ("caller", "request", "resources")

    def __init__(self, request: Request[Any, Any, Any], resources: R, caller: Caller) -> None:
        self.request, self.resources, self.caller = request, resources, caller

    @property
    def path(self) -> str:
        return str(self.request.scope["path"])


@dataclass(frozen=True, kw_only=True)
class Route:
    """The declaration of a route.

    `name` is its operationId, and the key of its examples in openapi/examples.json. The handler's docstring is its summary and description.
    `answers`, by status: a struct, a list of them (one of these), a tuple of media types, or None for no content. `headers`, by status: those of answers.
    `refuses`: statuses of errors that do not follow from the rest. `keyed`: it takes an Idempotency-Key, as the argument `key`.
    `links`, by name of another route: its path parameter and the field of the answer that is its value.
    `query` is None where any query string is ignored. `limited`: also for callers who are limited to some queues or types, because the handler heeds that.
    """

    name: str
    method: str
    paths: tuple[str, ...]
    scope: Scope
    limited: bool
    handler: RouteHandler
    answers: Mapping[int, Any]
    path_parameters: Mapping[str, Parameter]
    query: Mapping[str, Parameter] | None
    body: Body[Any] | None
    keyed: bool
    refuses: tuple[int, ...]
    headers: Mapping[int, tuple[str, ...]]
    links: Mapping[str, tuple[str, str]]

    def bound(self, resources: Any, identify: Identify) -> HTTPRouteHandler:
        """The route as Litestar serves it."""

        async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
            caller = await identify(request, self)
            values = self._values(request)
            if self.body is not None or self.keyed:
                headers = dict(request.scope["headers"])
                if self.body is not None:
                    values["body"] = await self.body.read(request, headers)
                if self.keyed:
                    values["key"] = bodies.idempotency_key(headers)
            return await self.handler(RouteCall(request, resources, caller), **values)

        paths = [_placeholder.sub(r"{\1:str}", path) for path in self.paths]
        return route(paths, http_method=[self.method], status_code=200)(handle)  # type: ignore[list-item]

    def _values(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The query and path parameters, parsed. Raises Invalid, or what the parser of a path parameter raises."""
        values = {} if self.query is None else queries.read(request.scope["query_string"], self.query)
        for name, parameter in self.path_parameters.items():
            values[name] = parameter.parse([request.scope["path_params"][name]])
        return values


@dataclass(frozen=True)
class Group:
    """Routes that the OpenAPI document lists under one tag. Iterating gives them in the order of their declaration.

    `is_probe`: they answer at any time, outside of the API's prefix, and ignore query strings.
    """

    tag: str
    path_parameters: Mapping[str, Parameter] = field(default_factory=dict)
    is_probe: bool = False
    _routes: list[Route] = field(default_factory=list)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def route(
        self,
        method: str,
        *paths: str,
        name: str,
        scope: Scope,
        answers: Mapping[int, Any],
        limited: bool = False,
        query: Mapping[str, Parameter] = queries.NO_PARAMETERS,
        body: Body[Any] | None = None,
        keyed: bool = False,
        refuses: tuple[int, ...] = (),
        headers: Mapping[int, tuple[str, ...]] | None = None,
        links: Mapping[str, tuple[str, str]] | None = None,
    ) -> Callable[[H], H]:
        """Declare the decorated function as the handler of a route. Raises TypeError if it does not take the declared parameters."""
        parameters = {name: self.path_parameters[name] for name in _placeholder.findall(paths[0])}

        def declare(handler: H) -> H:
            declared = Route(
                name=name,
                method=method,
                paths=paths,
                scope=scope,
                limited=limited,
                handler=handler,
                answers=answers,
                path_parameters=parameters,
                query=None if self.is_probe else query,
                body=body,
                keyed=keyed,
                refuses=refuses,
                headers=headers or {},
                links=links or {},
            )
            _check_signature(declared)
            self._routes.append(declared)
            return handler

        return declare


def _check_signature(declared: Route) -> None:
    values = [*declared.path_parameters, *(declared.query or ())] + ["body"] * (declared.body is not None) + ["key"] * declared.keyed
    try:
        inspect.signature(declared.handler).bind(None, **dict.fromkeys(values))
        inspect.signature(declared.handler).bind(None, **dict.fromkeys(name for name in values if name not in (declared.query or ())))
    except TypeError as error:
        raise TypeError(f"the handler of {declared.name} does not fit its declaration: {error}") from None


def options(routes: list[Route]) -> list[HTTPRouteHandler]:
    """The answers to OPTIONS. Litestar's own names only the methods of the route that was registered first at a path.

    See findings/litestar-options-names-the-first-handler-only.sh.
    """
    methods: dict[str, set[str]] = {}
    for declared in routes:
        for path in declared.paths:
            also = {"HEAD"} if declared.method == "GET" else set()  # answered in front of the routes
            methods.setdefault(_placeholder.sub(r"{\1:str}", path), {"OPTIONS"}).update({declared.method}, also)
    return [_options(path, ", ".join(sorted(allowed)).encode()) for path, allowed in methods.items()]


def _options(path: str, allowed: bytes) -> HTTPRouteHandler:
    async def answer() -> ASGIApp:
        return EncodedResponse(200, b"", (b"allow", allowed), content_type=TEXT)

    return route(path, http_method=["OPTIONS"], status_code=200)(answer)
