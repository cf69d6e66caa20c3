"""Declarations of routes: what cannot be declared, and what a handler receives."""

from typing import Any

import pytest
from litestar import Litestar, Response
from litestar.testing import TestClient
from litestar.types import ASGIApp

from waggle.field_errors import Invalid
from waggle.scopes import Scope
from waggle_api import app
from waggle_api.caller import Caller
from waggle_api.http import queries, routing
from waggle_api.http.answers import EncodedResponse, encode
from waggle_api.http.bodies import Body
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group, Route, RouteCall

NUMBER = Parameter(lambda values: int(values[0]), {"type": "integer"}, "a number")


async def accepts_all(call: RouteCall[str], **values: Any) -> ASGIApp:
    return EncodedResponse(200, encode({"resources": call.resources, "caller": call.caller.name, "path": call.path, **values}))


async def somebody(request: object, route: Route) -> Caller:
    return Caller(name=f"somebody with {route.scope}", scopes=frozenset())


def test_a_route_without_a_scope_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="scope"):
        Group("Things").route("GET", "/things", name="things_listing", answers={200: None})  # type: ignore[call-arg]


def test_a_route_whose_handler_does_not_take_a_declared_parameter_cannot_be_declared() -> None:
    async def takes_nothing(call: RouteCall[str]) -> ASGIApp: ...

    async def requires_a_query_parameter(call: RouteCall[str], limit: int) -> ASGIApp: ...

    for handler in (takes_nothing, requires_a_query_parameter):
        with pytest.raises(TypeError, match="the handler of things_listing does not fit its declaration"):
            Group("Things").route("GET", "/things", name="things_listing", scope=Scope.PUBLIC, query={"limit": queries.LIMIT}, answers={200: None})(handler)


def test_a_route_with_an_undeclared_path_parameter_cannot_be_declared() -> None:
    with pytest.raises(KeyError, match="number"):
        Group("Things").route("GET", "/things/{number}", name="things_show", scope=Scope.PUBLIC, answers={200: None})


def test_names_of_routes_are_unique() -> None:
    names = [route.name for group in app.GROUPS for route in group]
    assert len(names) == len(set(names))


def test_a_handler_receives_parsed_values_and_the_caller_of_its_scope() -> None:
    group = Group("Things", {"number": NUMBER})
    group.route(
        "POST",
        "/things/{number}",
        name="things_change",
        scope=Scope.PUBLIC,
        query={"limit": queries.LIMIT},
        body=Body(None, lambda text: text.decode().upper(), 100),
        keyed=True,
        answers={200: None},
    )(accepts_all)
    handlers = [*routing.options(list(group)), *(route.bound("the resources", somebody) for route in group)]
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    with TestClient(Litestar(handlers, openapi_config=None)) as client:
        found = client.post("/things/7?limit=3", content=b'"x"', headers=headers)
        values = {"number": 7, "limit": 3, "body": '"X"', "key": "k"}
        assert found.json() == {"resources": "the resources", "caller": "somebody with public", "path": "/things/7", **values}
        assert client.options("/things/7").headers["allow"] == "OPTIONS, POST"


def test_a_probe_ignores_its_query_string_and_other_routes_refuse_unknown_parameters() -> None:
    probes, group = Group("Probes", is_probe=True), Group("Things")
    for declared, path in ((probes, "/alive"), (group, "/things")):
        declared.route("GET", path, name=path, scope=Scope.PUBLIC, answers={200: None})(accepts_all)
    handlers = [route.bound(None, somebody) for route in (*probes, *group)]
    litestar = Litestar(handlers, openapi_config=None, exception_handlers={Invalid: lambda *_: Response("", status_code=422)})
    with TestClient(litestar) as client:
        assert client.get("/alive?unknown=1").status_code == 200
        assert client.get("/things?unknown=1").status_code == 422
