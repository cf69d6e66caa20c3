"""The OpenAPI 3.1 document, made from what the code itself works with: its routes, their parameters, the structs of bodies and answers, the errors.

Bodies that are refused when they hold unknown fields are closed objects; in an answer, what is absent is left out and never null.
"""

import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler

from waggle.errors import ErrorCode
from waggle_api.health import VERSION
from waggle_api.http import problems
from waggle_api.openapi.operations import API, PATH_PARAMETERS, PROBES, Operation
from waggle_api.openapi.schemas import REF, Json, Schemas

PREFIX: Final = "/api"
ABOUT: Final = """Durable background tasks. `/api/v1/…` is the same tree as `/api/…`.

Optional fields are left out, not null. Times are ISO 8601 in UTC. Unknown fields and parameters are refused, all wrong ones at once. Lists are `items` with
a `next_cursor`, which is left out on the last page. A page may hold fewer items than `limit`, or none, and still have one: go on with it."""
REQUEST_ID: Final[Json] = {
    "description": "the X-Request-ID of the request if it is well-formed, else a new one; it is in the logs",
    "schema": {"type": "string"},
}
HEADERS: Final[Mapping[str, Json]] = {
    "Location": {"description": "where it is from now on", "schema": {"type": "string"}},
    "Retry-After": {"description": "repeat it after so many seconds", "schema": {"type": "integer", "minimum": 1}},
    "Idempotent-Replayed": {"description": "this key was used before: the answer shows what it created then", "schema": {"const": "true"}},
    "Allow": {"description": "the methods that this address takes", "schema": {"type": "string"}},
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
    "description": "1 to 255 printable ASCII characters; repeat a request under its key, and it is done once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}


@functools.cache
def document() -> bytes:
    """The document as JSON; made once."""
    return msgspec.json.encode(build())


def build() -> Json:
    """The document."""
    examples = msgspec.json.decode((files("waggle_api.openapi") / "examples.json").read_bytes())
    groups = [(PREFIX, tag, operations) for tag, operations in API.items()] + [("", tag, operations) for tag, operations in PROBES.items()]
    everything = [operation for _, _, operations in groups for operation in operations]
    schemas = Schemas([ErrorCode, problems.Problem, *_bodies(everything)])
    paths: dict[str, Json] = {}
    for prefix, tag, operations in groups:
        for operation in operations:
            name = operation_id(operation.route)
            described = _operation(operation, schemas, examples.get(name, {}), guarded=prefix == PREFIX)
            for number, path in enumerate(sorted(operation.route.paths)):
                alias = "_" + path.rpartition("/")[2] if number else ""
                paths.setdefault(re.sub(r":\w+\}", "}", prefix + path), {})[_method(operation)] = {"operationId": name + alias, "tags": [tag], **described}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Waggle", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for _, tag, _ in groups],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {"RequestId": TRACE},
            "responses": {_response(kind.status): _problem(kind, examples) for kind in _kinds()},
        },
    }


def operation_id(route: HTTPRouteHandler) -> str:
    """`tasks_show`: the module and the name of the route's function; `health_db` where the name has it already."""
    module, name = route.fn.__module__.rpartition(".")[2], route.fn.__name__
    return name if name.startswith(module) else f"{module}_{name}"


def _method(operation: Operation) -> str:
    (method,) = operation.route.http_methods
    return str(method).lower()


def _operation(operation: Operation, schemas: Schemas, examples: Json, *, guarded: bool) -> Json:
    summary, _, more = inspect.cleandoc(operation.route.fn.__doc__ or "").partition("\n")
    found: Json = {"summary": summary.rstrip("."), "description": more.strip(), "parameters": _parameters(operation)}
    if operation.body is not None:
        content = {"schema": schemas.of(operation.body), **_example(examples, "request")}
        found["requestBody"] = {"required": operation.needs_body, "content": {"application/json": content}}
    found["responses"] = {str(status): _answer(operation, status, schemas, examples) for status in operation.answers}
    for status in sorted(_refusals(operation, guarded=guarded)):
        found["responses"].setdefault(str(status), {"$ref": f"#/components/responses/{_response(status)}"})
    return {key: value for key, value in found.items() if value not in ("", [])}


def _parameters(operation: Operation) -> list[Json]:
    (path, *_) = operation.route.paths
    places = [
        {"name": name, "in": "path", "required": True, "description": PATH_PARAMETERS[name].about, "schema": PATH_PARAMETERS[name].schema}
        for name in re.findall(r"\{(\w+):", path)
    ]
    queries = [{"name": name, "in": "query", "description": one.about, "schema": one.schema} for name, one in operation.query.items()]
    return [*places, *queries, *([KEY] if operation.keyed else []), {"$ref": "#/components/parameters/RequestId"}]


def _refusals(operation: Operation, *, guarded: bool) -> set[int]:
    """The errors that it may answer: its own, and those that follow from what it takes."""
    found = {*operation.refuses, 500}
    if guarded:
        found |= {422, 503}
    if "{" in min(operation.route.paths):
        found |= {404}
    if operation.body is not None:
        found |= {400, 408, 413, 415}
    return found | ({409} if operation.keyed else set())


def _answer(operation: Operation, status: int, schemas: Schemas, examples: Json) -> Json:
    kind = operation.answers[status]
    headers = {"X-Request-ID": REQUEST_ID, **{name: HEADERS[name] for name in operation.headers.get(status, ())}}
    if operation.keyed:
        headers["Idempotent-Replayed"] = HEADERS["Idempotent-Replayed"]
    answer: Json = {"description": HTTPStatus(status).phrase, "headers": headers}
    if isinstance(kind, tuple):  # media types
        answer["content"] = {media: {"schema": {"type": "object" if media == "application/json" else "string"}} for media in kind}
    elif kind is not None:
        answer["content"] = {"application/json": {"schema": schemas.of(kind), **_example(examples, str(status))}}
    if operation.leads_to and kind is not None:
        answer["links"] = {
            operation_id(target): {"operationId": operation_id(target), "parameters": {name: f"$response.body#/{field}"}}
            for target, name, field in operation.leads_to
        }
    return answer


def _example(examples: Json, name: str) -> Json:
    """As it was sent to, or answered by, a running system."""
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
    headers = {"X-Request-ID": REQUEST_ID, **({"Retry-After": HEADERS["Retry-After"]} if kind.status == 503 else {})}
    narrowed = {"allOf": [{"$ref": REF + "Problem"}, {"properties": {"status": {"const": kind.status}, "code": {"const": kind.code}}}]}
    example = _example(examples["problems"], str(kind.status))
    return {"description": kind.title, "headers": headers, "content": {problems.MEDIA_TYPE: {"schema": narrowed, **example}}}


def _bodies(operations: Iterable[Operation]) -> Iterator[Any]:
    for operation in operations:
        if operation.body is not None:
            yield operation.body
        for kind in operation.answers.values():
            if kind is not None and not isinstance(kind, tuple):
                yield from kind if isinstance(kind, list) else [kind]
