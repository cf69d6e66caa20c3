"""The OpenAPI document and the code are held against each other, and docs/api.md against the document."""

import re
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
import msgspec
import pytest
from litestar.routes import HTTPRoute

from waggle.errors import ErrorCode
from waggle.task import Priority, Status
from waggle_api import app
from waggle_api.edge.identity import everybody
from waggle_api.openapi.document import build, recorded_examples
from waggle_api.resources import Resources

DOCUMENT = build("/api", app.GROUPS)
OPERATIONS = {(path, method): found for path, methods in DOCUMENT["paths"].items() for method, found in methods.items()}
SCHEMAS = DOCUMENT["components"]["schemas"]
HAND_WRITTEN = (Path(__file__).parents[4] / "docs/api.md").read_text()


def examples() -> list[tuple[str, Any, Any]]:
    """Every example with its schema."""
    found = []
    for (path, method), operation in OPERATIONS.items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        contents = [content for body in bodies for content in body.get("content", {}).values()]
        found += [(f"{method} {path}", content["examples"]["recorded"]["value"], content["schema"]) for content in contents if "examples" in content]
    for name, response in DOCUMENT["components"]["responses"].items():
        found += [(name, content["examples"]["recorded"]["value"], content["schema"]) for content in response["content"].values() if "examples" in content]
    return found


def test_every_route_is_in_the_document_and_no_other() -> None:
    routes = [route for route in app.routed(cast(Resources, None), everybody).routes if isinstance(route, HTTPRoute)]
    served = {(re.sub(r":\w+\}", "}", route.path_format), method.lower()) for route in routes for method in route.methods - {"OPTIONS"}}
    assert {one for one in served if not one[0].startswith("/api/v1/")} == set(OPERATIONS)
    assert {(path.replace("/api/", "/api/v1/"), method) for path, method in OPERATIONS if path.startswith("/api/")} == {
        one for one in served if one[0].startswith("/api/v1/")
    }


def test_operations_keep_the_names_that_generated_clients_use() -> None:
    names = {found["operationId"] for found in OPERATIONS.values()}
    assert names == {route.name for group in app.GROUPS for route in group} | {"health_nats_redis", "schema_home_docs"}


def test_enumerations_have_the_seeds_names_and_values() -> None:
    for name, kind in (("TaskStatus", Status), ("TaskPriority", Priority), ("ErrorCode", ErrorCode)):
        assert SCHEMAS[name]["enum"] == [one.value for one in kind]  # type: ignore[attr-defined]


def test_bodies_are_closed_objects() -> None:
    for group in app.GROUPS:
        for route in group:
            if route.body is not None and isinstance(route.body.schema, type):
                assert SCHEMAS[route.body.schema.__name__]["additionalProperties"] is False
    assert SCHEMAS["Batch"]["additionalProperties"] is False


def test_answers_leave_out_absent_fields_and_have_no_null() -> None:
    task = SCHEMAS["Task"]
    assert task["properties"]["deadline"] == {"type": "string", "format": "date-time"}
    assert {"completed_at", "deadline", "error", "result", "payload"}.isdisjoint(task["required"])
    for schema in SCHEMAS.values():
        if schema.get("additionalProperties") is not False:
            assert '{"type":"null"}' not in msgspec.json.encode(schema).decode()


def test_everything_has_a_summary_and_every_parameter_is_described() -> None:
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert all(parameter.get("description") or "$ref" in parameter for parameter in operation.get("parameters", []))
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))


def test_every_answer_has_the_request_id_and_an_outage_says_when_to_retry() -> None:
    responses = DOCUMENT["components"]["responses"]
    answers = [answer for operation in OPERATIONS.values() for answer in operation["responses"].values() if "$ref" not in answer]
    assert all("X-Request-ID" in answer["headers"] for answer in [*answers, *responses.values()])
    assert "Retry-After" in responses["ServiceUnavailable"]["headers"]


@pytest.mark.parametrize(("name", "example", "schema"), examples())
def test_examples_fit_their_schemas(name: str, example: Any, schema: Any) -> None:
    jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}).validate(example)


def test_every_recorded_example_belongs_to_a_route() -> None:
    assert set(recorded_examples()) <= {"problems", *(route.name for group in app.GROUPS for route in group)}


def test_every_operation_of_the_api_has_an_example() -> None:
    shown = {name for name, _, _ in examples()}
    redirects = {key for key, operation in OPERATIONS.items() if "302" in operation["responses"]}  # they have no body
    assert [
        f"{method} {path}" for path, method in OPERATIONS if path.startswith("/api/") and f"{method} {path}" not in shown and (path, method) not in redirects
    ] == []


def test_the_hand_written_document_names_every_call_and_explains_every_code() -> None:
    calls = {f"{method.upper()} {path}" for path, method in OPERATIONS}
    run = set(re.findall(r"^# ((?:GET|POST|PATCH|DELETE) [^ ]+)  → ", HAND_WRITTEN, re.MULTILINE))
    assert {call for call in calls if " /api/" in call} == run
    assert [call for call in calls - run if f"`{call}`" not in HAND_WRITTEN and f"`{call.removeprefix('GET ')}`" not in HAND_WRITTEN] == []
    assert set(re.findall(r"^### `(\w+)`$", HAND_WRITTEN, re.MULTILINE)) == set(ErrorCode)
