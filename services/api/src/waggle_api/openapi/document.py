"""The OpenAPI 3.1 document, derived from the declarations of routes, the structs of bodies and answers, and the table of errors.

Bodies that refuse unknown fields are closed objects; answers leave out absent fields, which are never null.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

import msgspec

from waggle.errors import ErrorCode
from waggle.pinned import WAGGLE_VERSION
from waggle.scopes import Scope
from waggle_api.http import problems
from waggle_api.http.routing import Group, Route
from waggle_api.openapi.schemas import REF, Json, Schemas

ABOUT: Final = """Durable background tasks. `/api/v1/…` is the same tree as `/api/…`.

Optional fields are left out, not null. Times are ISO 8601 in UTC. Unknown fields and parameters are refused; all invalid ones are reported at once. Lists
are `items` with a `next_cursor`, which is left out on the last page. A page may hold fewer items than `limit`, or none, and still have a `next_cursor`."""
REQUEST_ID: Final[Json] = {
    "description": "the X-Request-ID of the request if it is well-formed, otherwise a new one; logs contain it",
    "schema": {"type": "string"},
}
HEADERS: Final[Mapping[str, Json]] = {
    "Location": {"description": "the address of what was created", "schema": {"type": "string"}},
    "Retry-After": {"description": "retry after this many seconds", "schema": {"type": "integer", "minimum": 1}},
    "Idempotent-Replayed": {"description": "this key was used before: the answer shows what it created then", "schema": {"const": "true"}},
    "RateLimit-Policy": {"description": "the quota `q` of requests in a window of `w` seconds, if there is one", "schema": {"type": "string"}},
    "RateLimit": {"description": "how many requests are left (`r`), and in how many seconds all are there again (`t`)", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "how to send an API key", "schema": {"type": "string"}},
    "Allow": {"description": "the methods that this address supports", "schema": {"type": "string"}},
}
TRACE: Final[Json] = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "1 to 128 letters, digits, dots, dashes and underscores; the id of this request in logs and answers. Anything else is replaced",
    "schema": {"type": "string"},
}
KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 printable ASCII characters, bare or as a quoted string; a request that is repeated with its key is carried out once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}


CREDENTIALS: Final[Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, or the access token of a user"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "an API key"},
}


def encoded(prefix: str, groups: Sequence[Group]) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(build(prefix, groups))


def recorded_examples() -> Json:
    """Bodies that a running system received and sent, by the names of routes and by `request` or status; and `problems` by status."""
    found: Json = msgspec.json.decode((files("waggle_api.openapi") / "examples.json").read_bytes())
    return found


def build(prefix: str, groups: Sequence[Group]) -> Json:
    """The document; `prefix` is the address of all groups but probes. Raises KeyError for a link to a route that does not exist."""
    examples = recorded_examples()
    everything = [route for group in groups for route in group]
    schemas = Schemas([ErrorCode, problems.Problem, *_types(everything)])
    names = {route.name: route.name for route in everything}
    paths: dict[str, Json] = {}
    for group in groups:
        for route in group:
            described = _operation(route, schemas, examples.get(route.name, {}), names, is_probe=group.is_probe)
            for number, path in enumerate(sorted(route.paths)):
                alias = "_" + path.rpartition("/")[2] if number else ""
                operation = {"operationId": route.name + alias, "tags": [group.tag], **described}
                paths.setdefault(path if group.is_probe else prefix + path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Waggle", "version": WAGGLE_VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(group.tag for group in groups)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {"RequestId": TRACE},
            "securitySchemes": CREDENTIALS,
            "responses": {_response(kind.status): _problem(kind, examples) for kind in _kinds()},
        },
    }


def _operation(route: Route, schemas: Schemas, examples: Json, names: Mapping[str, str], *, is_probe: bool) -> Json:
    summary, _, more = inspect.cleandoc(route.handler.__doc__ or "").partition("\n")
    found: Json = {"summary": summary.rstrip("."), "description": more.strip(), "parameters": _parameters(route)}
    if route.body is not None:
        content = {"schema": schemas.of(route.body.schema), **_example(examples, "request")}
        found["requestBody"] = {"required": route.body.required, "content": {"application/json": content}}
    found["security"] = [] if route.scope is Scope.PUBLIC else [{scheme: _scopes(route)} for scheme in CREDENTIALS]
    found["responses"] = {str(status): _answer(route, status, schemas, examples, names) for status in route.answers}
    for status in sorted(_refusals(route, is_probe=is_probe)):
        found["responses"].setdefault(str(status), {"$ref": f"#/components/responses/{_response(status)}"})
    return {key: value for key, value in found.items() if value not in ("", []) or key == "security"}


def _scopes(route: Route) -> list[str]:
    """OpenAPI 3.1 names them as roles beside a scheme that is not OAuth."""
    return [] if route.scope is Scope.SIGNED_IN else [route.scope]


def _parameters(route: Route) -> list[Json]:
    in_path = [{"name": name, "in": "path", "required": True, "description": one.about, "schema": one.schema} for name, one in route.path_parameters.items()]
    in_query = [{"name": name, "in": "query", "description": one.about, "schema": one.schema} for name, one in (route.query or {}).items()]
    return [*in_path, *in_query, *([KEY] if route.keyed else []), {"$ref": "#/components/parameters/RequestId"}]


def _refusals(route: Route, *, is_probe: bool) -> set[int]:
    """The errors that a route may answer: those that it declares, and those that follow from what it takes."""
    found = {*route.refuses, 421, 500}
    if route.method != "GET":
        found |= {403}
    if route.scope is not Scope.PUBLIC:
        found |= {401, 403, 429}
    if not is_probe:
        found |= {422, 503}
    if route.path_parameters:
        found |= {404}
    if route.body is not None:
        found |= {400, 408, 413, 415}
    return found | ({409} if route.keyed else set())


def _answer(route: Route, status: int, schemas: Schemas, examples: Json, names: Mapping[str, str]) -> Json:
    kind = route.answers[status]
    headers = {"X-Request-ID": REQUEST_ID, **{name: HEADERS[name] for name in route.headers.get(status, ())}}
    if route.keyed:
        headers["Idempotent-Replayed"] = HEADERS["Idempotent-Replayed"]
    answer: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
    if isinstance(kind, tuple):  # media types
        shown = _example(examples, str(status)) if len(kind) == 1 else {}
        answer["content"] = {media: {"schema": {"type": "object" if media == "application/json" else "string"}, **shown} for media in kind}
    elif kind is not None:
        answer["content"] = {"application/json": {"schema": schemas.of(kind), **_example(examples, str(status))}}
    if route.links and kind is not None:
        answer["links"] = {
            target: {"operationId": names[target], "parameters": {parameter: f"$response.body#/{field}"}} for target, (parameter, field) in route.links.items()
        }
    return answer


def _example(examples: Json, name: str) -> Json:
    return {"examples": {"recorded": {"summary": "recorded", "value": examples[name]}}} if name in examples else {}


def _kinds() -> Iterator[problems.Kind]:
    """One kind of error for each status."""
    seen = set()
    for kind in (*problems.TABLE, problems.CRASH):
        if kind.status not in seen:
            seen.add(kind.status)
            yield kind


def _response(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _problem(kind: problems.Kind, examples: Json) -> Json:
    more = {503: ("Retry-After",), 401: ("WWW-Authenticate",), 429: ("Retry-After", "RateLimit", "RateLimit-Policy")}.get(kind.status, ())
    headers = {"X-Request-ID": REQUEST_ID, **{name: HEADERS[name] for name in more}}
    example = _example(examples["problems"], str(kind.status))
    return {"description": kind.title, "headers": headers, "content": {problems.MEDIA_TYPE: {"schema": {"$ref": REF + "Problem"}, **example}}}


def _types(routes: Iterable[Route]) -> Iterator[Any]:
    """The types of bodies and answers."""
    for route in routes:
        if route.body is not None:
            yield route.body.schema
        for kind in route.answers.values():
            if kind is not None and not isinstance(kind, tuple):
                yield from kind if isinstance(kind, list) else [kind]
